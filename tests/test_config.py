import json
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from cxr_jax import config as configuration
from cxr_jax.errors import InputError

CONFIGS = Path(__file__).parents[1] / "configs"
BASE = str(CONFIGS / "base.py")
VARIANTS = ("plain_densenet", "frozen_bert", "finetune_bert", "unscaled_prompts")


def refused(spec, *overrides):
    with pytest.raises(InputError) as error:
        configuration.load(str(spec), overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


def config_file(folder, change):
    """A configuration file that changes configs/base.py's by the line `change`."""
    file = folder / "mine.py"
    file.write_text(
        "from cxr_jax import config as configuration\n\n"
        f"def get_config():\n    config = configuration.read({BASE!r})\n    {change}\n    return config\n"
    )
    return file


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.py")), ids=lambda file: file.stem)
@pytest.mark.parametrize("variant", ["", *VARIANTS])
def test_every_file_and_variant_loads(file, variant):
    config = configuration.load(f"{file}:{variant}")
    flat = configuration.flatten(config)
    assert set(flat) == set(configuration.SCHEMA)
    assert config == configuration.load(f"{file}:{variant}" if variant else str(file))
    plain = configuration.flatten(configuration.load(str(file)))
    assert (flat != plain) == bool(variant)


def test_the_variants_are_the_papers_ablations():
    change = {
        v: configuration.difference(configuration.load(BASE), configuration.load(f"{BASE}:{v}")) for v in VARIANTS
    }
    assert change["frozen_bert"] == ["text.num_prompts: 16 → 0"]
    assert change["finetune_bert"] == [
        "optim.bert_learning_rate: 0.0 → 2e-05",
        "text.frozen: True → False",
        "text.num_prompts: 16 → 0",
    ]
    assert change["unscaled_prompts"] == ["text.scaled_prompts: True → False"]
    assert set(change["plain_densenet"]) == {
        "image.multi_scale: True → False",
        "image.channel_attention: True → False",
        "image.spatial_attention: True → False",
        "image.pooling: adaptive → mean",
    }


def test_the_paper_is_the_default():
    config = configuration.load(BASE)
    assert (config["image_size"], config["text"]["num_prompts"], config["text"]["pretrained"]) == (
        312,
        16,
        "dmis-lab/biobert-v1.1",
    )
    assert config["image"]["block_sizes"] == (6, 12, 24, 16)
    assert (config["data"]["dataset"], config["data"]["split"]) == ("openi", "auto")  # which is the paper's


# Overrides


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("batch_size=8", 8),
        ("optim.learning_rate=1e-4", 1e-4),
        ("optim.learning_rate=1", 1.0),
        ("data.augment=false", False),
        ("data.augment=True", True),
        ("text.frozen=0", False),
        ("data.csv=/a=b/c d.csv", "/a=b/c d.csv"),
        ("data.csv=", ""),
        ("data.section=both", "both"),
        ("image.block_sizes=(2, 2)", (2, 2)),
        ("image.block_sizes=[2,2]", (2, 2)),
        ("text.bert={'hidden_size': 64}", {"hidden_size": 64}),
    ],
)
def test_overrides(override, expected):
    config = configuration.load(BASE, [override])
    value = configuration.flatten(config)[override.partition("=")[0]]
    assert value == expected
    assert type(value) is type(expected)


def test_the_last_override_wins_and_the_file_stays_as_it_is():
    assert configuration.load(BASE, ["batch_size=8", "batch_size=16"])["batch_size"] == 16
    assert configuration.load(BASE)["batch_size"] == 64


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("batchsize=8", "there is no key batchsize; did you mean batch_size?"),
        ("data.cvs=x", "there is no key data.cvs; did you mean data.csv?"),
        ("qqqq=1", "there is no key qqqq; --help lists them"),
        ("batch_size", "batch_size: has no value; write --config.batch_size=VALUE"),
        ("batch_size=many", "--config.batch_size=many: not of type int"),
        ("batch_size=8.5", "not of type int"),
        ("optim.learning_rate=fast", "not of type float"),
        ("data.augment=maybe", "not of type bool"),
        ("image.block_sizes=(2,", "not of type tuple"),
        ("image.block_sizes=2", "not of type tuple"),
        ("text.bert=[1]", "not of type dict"),
        ("data.section=Findings", "it is one of findings, impression, both"),
        ("data.dataset=imagenet", "it is one of openi, pairs, phantom"),
        ("batch_size=0", "batch_size = 0 must be positive"),
        ("num_steps=-1", "num_steps = -1 must be positive"),
        ("temperature=nan", "temperature = nan must be a finite number"),
        ("loss.bias=-inf", "loss.bias = -inf must be a finite number"),
        ("seed=-1", "seed = -1 must not be negative"),
        ("text.num_prompts=-1", "text.num_prompts = -1 must not be negative"),
        ("text.dropout=1", "text.dropout = 1.0 must be at least 0 and less than 1"),
        ("optim.b2=1.2", "optim.b2 = 1.2 must be"),
        ("image_size=16", "image_size = 16 must be at least 32"),
        ("text.max_tokens=2", "text.max_tokens = 2 must be at least 3"),
        ("image.block_sizes=()", "image.block_sizes = () must be"),
        ("image.block_sizes=('a',)", "image.block_sizes = ('a',) must be"),
        ("micro_batch=-1", "micro_batch = -1 must not be negative"),
        ("loss.kind=triplet", "loss.kind = 'triplet'; it is one of softmax, sigmoid"),
        ("loss.positives=all", "loss.positives = 'all'; it is one of pair, group, soft"),
        ("loss.target_temperature=0", "loss.target_temperature = 0.0 must be positive"),
        ("data.sampler=random", "data.sampler = 'random'; it is one of shuffle, unique_groups"),
        ("data.augment_text=('words',)", "data.augment_text holds 'words'; it is of section, leave_out, shuffle"),
        ("image.mean=(0.5,)", "image.mean = (0.5,) must be three numbers"),
        ("image.std=(1, 0, 1)", "image.std = (1, 0, 1) is divided by"),
        ("nan=ignore", "it is one of stop, skip"),
        ("checkpoint_minutes=-1", "checkpoint_minutes = -1.0 must not be negative"),
        ("checkpoint_every=-1", "checkpoint_every = -1 must not be negative"),
        ("optim.bert_learning_rate=-1", "optim.bert_learning_rate = -1.0 must not be negative"),
        ("profile_steps=3", "profile_steps = '3' must be FIRST:LAST, steps from 1 on"),
        ("profile_steps=0:3", "profile_steps = '0:3' must be FIRST:LAST"),
        ("profile_steps=4:3", "profile_steps = '4:3' must be FIRST:LAST"),
        (
            "optim.learning_rate=1e39",
            "learning_rate = 1e+39 is computed in float32, which holds sizes from 1.2e-38",
        ),
        ("optim.weight_decay=1e-46", "optim.weight_decay = 1e-46 is computed in float32"),
        ("loss.bias=-1e39", "loss.bias = -1e+39 is computed in float32"),
        ("image.std=(1, 1e-46, 1)", "image.std = (1, 1e-46, 1) is computed in float32"),
        ("image.mean=(0, 1e400, 1)", "image.mean = (0, inf, 1) must be a finite number"),
        ("text.bert={'layer_norm_eps': 1e-50}", "text.bert = {'layer_norm_eps': 1e-50} is computed in float32"),
        ("init_except=('head',)", "init_except = ('head',) stands without init_from; set both or none"),
        ("init_except=('(',)", "init_except holds '(', no regular expression"),
        ("text.max_tokens=500", "text.num_prompts + text.max_tokens = 516 passes BERT's 512 positions"),
        ("text.bert={'max_position_embeddings': 100}", "= 144 passes BERT's 100 positions"),
    ],
)
def test_bad_overrides_are_refused(override, message):
    assert message in refused(BASE, override)


def test_two_frozen_towers_have_nothing_to_learn():
    both = ("image.frozen=true", "text.frozen_tower=true")
    assert "image.frozen and text.frozen_tower leave nothing to learn but the temperature" in refused(BASE, *both)
    for one in both:
        configuration.load(BASE, [one])


def test_numbers_that_float32_holds():
    for value in ("0", "1.2e-38", "3.4e38", "-3.4e38"):
        configuration.load(BASE, [f"loss.bias={value}"])


# Files


@pytest.mark.parametrize("name", ["batch_size", "data.csv", "text.bert", "optim.clip_norm"])
def test_a_missing_key_is_named_with_its_meaning(tmp_path, name):
    message = refused(config_file(tmp_path, f"del config.{name}"))
    assert f"mine.py: key {name} is missing" in message
    assert configuration.SCHEMA[name].meaning in message
    # An override does not stand in for it: the next run would lack it again.
    assert f"key {name} is missing" in refused(config_file(tmp_path, f"del config.{name}"), f"{name}=1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("config.batchsize = 3", "there is no key batchsize; did you mean batch_size?"),
        ("config.data.paths = ''", "there is no key data.paths; did you mean data.path?"),
        ("config.batch_size = True", "batch_size = True is not of type int"),
        ("config.update({'num_steps': 10}); config.data = ConfigDict()", "NameError"),
        ("config.data.section = 'all'", "data.section = 'all'; it is one of"),
        ("config.unlock(); config.batch_size = '3'", "mine.py"),
        ("raise KeyError('gone')", "KeyError: 'gone'"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("def", "SyntaxError"),
    ],
)
def test_bad_files_are_refused(tmp_path, change, message):
    assert message in refused(config_file(tmp_path, change))


def test_no_file_no_function_no_variant(tmp_path):
    assert f"{tmp_path}/none.py: no such configuration file" in refused(tmp_path / "none.py")
    assert "no such configuration file" in refused(tmp_path)
    (tmp_path / "empty.py").touch()
    assert "empty.py: cannot be read as a configuration" in refused(tmp_path / "empty.py")
    (tmp_path / "settings.yaml").write_text("batch_size: 3")
    assert "settings.yaml: is not a Python file" in refused(tmp_path / "settings.yaml")
    (tmp_path / "nothing.py").write_text("def get_config():\n    pass\n")
    assert "nothing.py" in refused(tmp_path / "nothing.py")
    assert "no variant 'frozen'; there are plain_densenet, no_multi_scale" in refused(f"{BASE}:frozen")


def test_a_whole_number_will_do_for_a_float(tmp_path):
    file = config_file(tmp_path, "config.unlock(); config.temperature = 1.0; config.optim.clip_norm = 2.0")
    assert configuration.load(str(file))["optim"]["clip_norm"] == 2


# Comparing


def test_a_run_survives_its_own_json():
    config = configuration.load(str(CONFIGS / "phantom.py"))
    back = json.loads(json.dumps(config))
    assert configuration.difference(back, config) == configuration.difference(config, back) == []


def test_difference_names_what_differs_and_leaves_out_what_is_free():
    old = configuration.load(BASE)
    others = {bool: "true", int: "7", float: "7", str: "7"}
    values = {
        "remat": "layers",
        "nan": "skip",
        "profile_steps": "7:8",
        "data.unreadable": "drop",
        "draft.method": "compose",
    }
    names = (*configuration.FREE_KEYS, *configuration.CHANGEABLE_KEYS)
    free = [f"{name}={values.get(name, others[configuration.SCHEMA[name].kind])}" for name in names]
    changed = configuration.load(BASE, free)
    flat, before = configuration.flatten(changed), configuration.flatten(old)
    assert {name for name in flat if flat[name] != before[name]} == set(names)
    assert configuration.difference(old, changed) == []
    new = configuration.load(BASE, ["batch_size=32", "image.block_sizes=(6, 12)", "text.bert={'hidden_size': 3}"])
    assert configuration.difference(old, new) == [
        "batch_size: 64 → 32",
        "image.block_sizes: (6, 12, 24, 16) → (6, 12)",
        "text.bert: {} → {'hidden_size': 3}",
    ]
    without = dict(old)
    del without["seed"]
    assert configuration.difference(without, old) == ["seed: None → 0"]


def test_what_stands_in_the_way_of_comparing_is_found_at_depth():
    old = configuration.load(BASE)
    new = json.loads(json.dumps(old))
    new["data"]["fingerprint"] = "abc"
    assert configuration.difference(old, new) == ["data.fingerprint: None → abc"]


def test_help_names_every_key_with_its_choices():
    lines = configuration.describe().splitlines()
    assert [line.split()[0] for line in lines] == list(configuration.SCHEMA)
    for line, key in zip(lines, configuration.SCHEMA.values(), strict=True):
        assert key.meaning in line
        assert all(choice in line for choice in key.choices)


def test_a_plain_config_dict_is_flattened_by_the_schema():
    flat = configuration.flatten(ConfigDict({"seed": 1, "text": {"bert": {"a": {"b": 1}}}, "other": {"x": 1}}))
    assert flat["seed"] == 1
    assert flat["text.bert"] == {"a": {"b": 1}}
    assert flat["other"].to_dict() == {"x": 1}
