"""configs/labels/*.yaml on tables drawn here in each data set's own columns and ways of writing."""

import numpy as np
import pytest
from PIL import Image

from cxr_jax.data.column_maps import READY, read_column_map
from cxr_jax.data.external import read_external
from cxr_jax.data.label_values import BLANK, DOUBT, NO, YES
from cxr_jax.data.notes import Notes
from cxr_jax.errors import InputError
from cxr_jax.retrieval.prompts import questions_of


@pytest.fixture
def read(tmp_path):
    """Writes a table and its images, and reads them by a ready map: {image: (record, {label: value})}."""

    def read(name, table, images=(), view="frontal", file="table.csv"):
        for image in images:
            (tmp_path / image).parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), 90).save(tmp_path / image, "PNG")
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(table, "utf-8")
        notes = Notes()
        columns = read_column_map(str(READY / f"{name}.yaml"))
        found = read_external(tmp_path / file, columns, None, "findings", view, notes)
        said = [dict(zip(found.names, map(int, line), strict=True)) for line in found.values]
        return {r.image_id: (r, v) for r, v in zip(found.records, said, strict=True)}, [n.what for n in notes.all]

    return read


def test_there_is_one_for_each_set_and_its_sentences_are_questions():
    names = {file.stem for file in READY.glob("*.yaml")}
    assert names == {"chexpert", "nih14", "rsna", "siim", "vindr", "padchest", "montgomery_shenzhen"}
    for file in READY.glob("*.yaml"):
        assert questions_of(read_column_map(str(file)).prompts, str(file))


def test_chexpert(read):
    head = (
        "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,"
        "Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,"
        "Support Devices\n"
    )
    folder = "CheXpert-v1.0-small/valid/patient64541/study1"
    rows = [
        f"{folder}/view1_frontal.jpg,Male,73,Frontal,AP,,1.0,-1.0,,0.0,,,,,,,,,1.0",
        f"{folder}/view2_lateral.jpg,Male,73,Lateral,,,1.0,-1.0,,0.0,,,,,,,,,1.0",
    ]
    found, notes = read(
        "chexpert", head + "\n".join(rows), [f"{folder}/view1_frontal.jpg"], file="CheXpert-v1.0-small/valid.csv"
    )
    ((record, values),) = found.values()
    assert record.patient_id == "patient64541"
    assert record.study_id == "patient64541/study1"
    assert record.image.is_file()
    assert (values["Enlarged Cardiomediastinum"], values["Cardiomegaly"]) == (YES, DOUBT)
    assert (values["Lung Lesion"], values["Edema"]) == (NO, BLANK)
    assert "No Finding" not in values
    assert record.labels == ("Enlarged Cardiomediastinum", "Support Devices")
    assert any("lateral" in note for note in notes)


def test_nih14(read):
    head = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,OriginalImage[Width"
        ",Height],OriginalImagePixelSpacing[x,y],\n"
    )
    rows = [
        "00000001_000.png,Cardiomegaly|Pleural_Thickening,0,1,58,M,PA,2682,2749,0.143,0.143,",
        "00000002_000.png,No Finding,0,2,81,M,AP,2500,2048,0.171,0.171,",
    ]
    found, _ = read("nih14", head + "\n".join(rows), ["images_001/images/00000001_000.png"])
    record, values = found["00000001_000.png"]
    assert record.image.parts[-3:] == ("images_001", "images", "00000001_000.png")
    assert values == {"Cardiomegaly": YES, "Pleural_Thickening": YES}
    record, values = found["00000002_000.png"]
    assert values == {"Cardiomegaly": NO, "Pleural_Thickening": NO}
    assert record.patient_id == "2"
    assert not record.image.exists()


def test_rsna_has_a_row_a_box(read):
    table = (
        "patientId,x,y,width,height,Target\n0004cfab,,,,,0\n00436515,264,152,213,379,1\n00436515,562,152,256,453,1\n"
    )
    found, notes = read("rsna", table, ["stage_2_train_images/00436515.dcm"])
    assert [values for _, values in found.values()] == [{"Pneumonia": NO}, {"Pneumonia": YES}]
    assert found["00436515"][0].image.name == "00436515.dcm"
    assert not notes


def test_siim_has_a_row_a_mask(read):
    first, second = "1.2.276.0.7230010.3.1.4.8323329.14508", "1.2.276.0.7230010.3.1.4.8323329.4904"
    table = f"ImageId, EncodedPixels\n{first}, -1\n{second},175349 7 1013 12\n{second},407576 2 1021 7\n"
    found, _ = read("siim", table, [f"dicom-images-train/1.2.276/1.2.277/{second}.dcm"])
    assert [values for _, values in found.values()] == [{"Pneumothorax": NO}, {"Pneumothorax": YES}]
    assert found[second][0].image.is_file()
    assert found[first][0].study_id == first  # its last number is no suffix


def test_vindr_by_most_readers(read):
    rows = [
        "a,R1,Cardiomegaly,10,20,30,40", "a,R1,Cardiomegaly,11,20,30,40",
        "a,R2,Cardiomegaly,1,2,3,4", "a,R3,No finding,,,,",
        "b,R1,ILD,1,2,3,4", "b,R2,No finding,,,,", "b,R3,No finding,,,,",
    ]  # fmt: skip
    found, _ = read(
        "vindr", "image_id,rad_id,class_name,x_min,y_min,x_max,y_max\n" + "\n".join(rows), ["train/a.dicom"]
    )
    assert {image: values for image, (_, values) in found.items()} == {
        "a": {"Cardiomegaly": YES, "ILD": NO}, "b": {"Cardiomegaly": NO, "ILD": NO}
    }  # fmt: skip
    assert found["a"][0].image.name == "a.dicom"


def test_vindr_by_consensus(read):
    found, _ = read("vindr", "image_id,Cardiomegaly,ILD,No finding\na,1,0,0\nb,0,0,1\n")
    assert {image: values for image, (_, values) in found.items()} == {
        "a": {"Cardiomegaly": YES, "ILD": NO}, "b": {"Cardiomegaly": NO, "ILD": NO}
    }  # fmt: skip


def test_padchest(read):
    head = ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,Projection,Report,Labels\n"
    rows = [
        "0,a.png,0,20140915,20536,8392,PA,sin hallazg,['normal']",
        "1,b.png,0,20140915,20537,8393,AP_horizontal,cardiomegali .,\"['cardiomegaly', ' pleural effusion']\"",
        "2,c.png,0,20140915,20538,8394,PA,dolor .,",
        "3,d.png,0,20140915,20539,8395,PA,. ,\"['exclude', 'cardiomegaly']\"",
        "4,e.png,0,20140915,20540,8396,L,. ,['cardiomegaly']",
    ]
    found, notes = read("padchest", head + "\n".join(rows), ["0/b.png"])
    assert {image: values for image, (_, values) in found.items()} == {
        "a.png": {"cardiomegaly": NO, "pleural effusion": NO},
        "b.png": {"cardiomegaly": YES, "pleural effusion": YES},
        "c.png": {"cardiomegaly": BLANK, "pleural effusion": BLANK},
    }
    assert not any(record.findings for record, _ in found.values())  # word stems in Spanish
    assert sum("leave_out" in note or "lateral" in note for note in notes) == 2


def test_montgomery_and_shenzhen_by_their_files_names(tmp_path):
    for name in ("MCUCXR_0001_0.png", "sub/CHNCXR_0327_1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / name)
    columns = read_column_map(str(READY / "montgomery_shenzhen.yaml"))
    found = read_external(tmp_path, columns, None, "findings", "frontal", Notes())
    assert [(r.study_id, r.labels) for r in found.records] == [("MCUCXR_0001", ()), ("CHNCXR_0327", ("Tuberculosis",))]
    assert found.values.tolist() == [[NO], [YES]]
    assert all(record.image.is_file() for record in found.records)


def test_montgomery_and_shenzhen_by_a_table(read):
    found, _ = read("montgomery_shenzhen", "study_id,sex,age,findings\nCHNCXR_0001_0.png,Male,45,normal\n")
    ((record, values),) = found.values()
    assert (record.study_id, values) == ("CHNCXR_0001", {"Tuberculosis": NO})
    assert not record.findings  # a reading in a word or two is no report


def test_a_table_without_a_map_is_told_of_the_one_that_fits(tmp_path):
    (tmp_path / "Data_Entry_2017.csv").write_text("Image Index,Finding Labels,Patient ID\na.png,No Finding,1\n")
    empty = read_column_map("{}")
    with pytest.raises(InputError, match=r"has no column image, .*--columns configs/labels/nih14\.yaml, which fits it"):
        read_external(tmp_path / "Data_Entry_2017.csv", empty, None, "findings", "frontal", Notes())
