"""The words of the rule labeller: what names each of CheXpert's observations, and what denies, doubts or limits it.

Regular expressions over lower-case text. Spaces stand for any white space or a hyphen.
"""

# CheXpert's observations (Irvin et al. 2019), in its order.
OBSERVATIONS = (
    "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation", "Pneumonia",
    "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices", "No Finding",
)  # fmt: skip

# Words that name a finding: it is there unless something else is said of it.
FINDINGS: dict[str, tuple[str, ...]] = {
    "Enlarged Cardiomediastinum": (
        r"mediastin\w+ (?:widening|enlargement|prominence|fullness|mass(?:es)?)",
        r"(?:widen\w*|enlarge\w*|prominen\w+|fullness) (?:of )?(?:the )?(?:superior |upper |cardio ?)?mediastin\w+",
    ),
    "Cardiomegaly": (
        r"cardiomegaly",
        r"(?:cardiac|heart|ventricular) enlargement",
        r"enlarge\w* (?:of )?(?:the )?(?:heart|cardiac|cardiopericardial)(?: silhouette| shadow| size)?",
    ),
    "Lung Opacity": (
        r"opacit(?:y|ies)",
        r"opacifications?",
        r"infiltrat\w+",
        r"air ?space (?:disease|process|change)s?",
        r"densit(?:y|ies)",
        r"(?:scar(?:s|ring)?|fibro(?:sis|tic)\w*)",
        r"interstitial (?:lung |\w+ )?(?:markings?|prominence|thickening|changes?|disease|pattern|process)",
        r"(?:increased|prominent|coarse\w*|accentuated) (?:\w+ )?(?:interstitium|markings)",
        r"reticul\w+",
        r"(?:peribronchial|bronchial wall) (?:cuffing|thickening)",
        r"ground glass",
    ),
    "Lung Lesion": (
        r"nodul(?:es?|ar(?:ity)?)",
        r"mass(?:es|like)?(?! effect)",
        r"(?:cavit\w+ |lung |pulmonary )?lesions?",
        r"granulom\w+",
        r"neoplas\w+",
        r"tumou?rs?",
        r"metasta\w+",
        r"malignan\w+",
        r"carcinoma",
        r"cavit(?:y|ies|ation)",
    ),
    "Edema": (
        r"edema",
        r"congestion",
        r"pulmonary venous hypertension",
        r"congestive (?:heart )?(?:failure|changes?)",
        r"heart failure",
        r"chf",
        r"(?:fluid|volume) overload",
        r"cephalization",
        r"kerley",
        r"vascular (?:engorgement|redistribution|prominence|indistinctness)",
        r"(?:engorged|prominent|indistinct) (?:central |pulmonary )*vascul\w+",
    ),
    "Consolidation": (r"consolidat\w+",),
    "Pneumonia": (
        r"(?:broncho)?pneumonias?",
        r"pneumonic",
        r"infect\w+",
    ),
    "Atelectasis": (
        r"atelecta\w+",
        r"volume loss",
        r"loss of (?:lung )?volume",
        r"(?:lobar |lung )collapse",
    ),
    "Pneumothorax": (r"(?:hydro)?pneumothora\w+",),
    "Pleural Effusion": (
        r"effusions?",
        r"pleural fluid",
        r"hydro(?:pneumo)?thora\w+",
    ),
    "Pleural Other": (
        r"pleural (?:\w+ )?(?:thickening|plaques?|scar\w*|calcifications?|reaction|disease|abnormality)",
        r"thickening of the (?:\w+ )?pleura",
        r"pleuro ?parenchymal (?:scar\w*|thickening|change\w*)",
        r"fibrothorax",
        r"(?:apical|pleural) (?:cap(?:ping)?|thickening)",
        r"fissural thickening",
        r"pleural based",
    ),
    "Fracture": (r"fractur\w+",),
    "Support Devices": (
        r"catheters?",
        r"picc",
        r"(?:central|venous|subclavian|jugular|ij) (?:venous )?lines?",
        r"(?:media|medi|info)?port ?a ?cath",
        r"mediport",
        r"chest port",
        r"port (?:tip|catheter)",
        r"pace ?makers?",
        r"pacer",
        r"a?icd",
        r"defibrillator",
        r"(?:endotracheal|enteric|nasogastric|orogastric|ng|et|chest|feeding|tracheostomy|thoracostomy|"
        r"gastrostomy|support) tubes?",
        r"tracheostomy",
        r"stents?",
        r"clips?",
        r"sternotomy(?: wires?)?",
        r"(?:sternal|median|cerclage) wires?",
        r"sutures?",
        r"staples?",
        r"(?:valve|valvular) (?:replacement|prosthesis)",
        r"prosthe\w+",
        r"hardware",
        r"screws?",
        r"(?:plates?|rods?) and (?:screws?|rods?)",
        r"(?:spinal|spine|cervical|lumbar|thoracic|anterior) fusion",
        r"arthroplasty",
        r"stimulator",
        r"(?:ivc )?filter",
        r"leads?(?! to)",
        r"devices?",
        r"implants?",
        r"tips(?= shunt| noted)",
        r"shunts?",
    ),
}
# Findings that are none of the thirteen, but leave no room for "No Finding", as in CheXpert's labeller.
OTHER_FINDINGS = (
    r"emphysem\w+",
    r"hyper ?(?:inflat|expan|aerat|luc)\w+",
    r"copd",
    r"chronic obstructive",
    r"blunt\w*",
    r"calcif\w+|calcinosis",
    r"\w*scoliosis|kypho\w+",
    r"hernias?",
    r"eventration|elevat\w+",
    r"bulla|bullae|blebs?|cysts?",
    r"bronchiecta\w+",
    r"pneumoperitoneum|pneumomediastinum",
    r"(?:lymph)?adenopathy",
    r"degenerative|osteophyt\w*|spondylo\w+|osteopeni\w+|osteopor\w+",
    r"athero\w+|tortuo\w+|ectasia|ectatic|aneurysm\w*",
    r"deformit(?:y|ies)",
    r"(?:lytic|blastic|sclerotic|destructive) (?:\w+ )?lesions?",
)

# Words beside which a finding's name is another thing.
NOT_MEANT = (
    r"(?:bony|osseous|bone|lytic|blastic|sclerotic|skeletal|rib|soft tissue|destructive) (?:\w+ )?lesions?",
    r"mass effect",
    r"(?:subcutaneous|soft tissue|peripheral|lower extremity) edema",
    r"breast (?:shadow|tissue|mass)\w*",
    r"(?:granulomatous|histoplasmosis|prior|old|remote|previous) infection\w*",
    r"pericardial (?:\w+ )?effusions?",
    r"(?:fat|body) mass",
    r"no\. \d",
    r"bone densit\w+",
    r"mineral density",
    r"vertebral body density",
    r"cardiac density",
)

# Structures whose state says whether a finding is there.
STRUCTURES = {
    "Cardiomegaly": (
        r"(?:heart(?! failure)(?: size| silhouette| shadow)?|cardiac (?:silhouette|size|shadow|contours?|"
        r"outline)|cardiac and mediastinal|cardiopericardial silhouette)"
    ),
    "Enlarged Cardiomediastinum": (
        r"(?:cardio ?mediastin\w+|mediastin\w+)(?: silhouettes?| contours?| structures| size| shadow| borders?)?"
    ),
}
ENLARGED = (
    r"(?:enlarged|enlargement|enlarging|widened|widening|prominent|prominence|increased in size|above normal|"
    r"is large|abnormally large|magnified|dilated|globular)"
)
BORDERLINE = r"borderline"
NORMAL = r"(?:normal|unremarkable|not (?:\w+ )?(?:enlarged|widened)|within limits|upper limits)"

# Whole statements that a finding is absent, or in doubt: (observation, status, pattern).
STATEMENTS = (
    (
        "Lung Opacity",
        "negative",
        r"(?:lungs?|lung fields?|lung (?:zones|bases|volumes)|"
        r"lungs? (?:parenchyma )?and pleural spaces) (?:\w+ ){0,4}clear\b(?! of)|clear (?:\w+ )?lungs?|"
        r"lungs clear\b(?! of)",
    ),
    (
        "Pleural Effusion",
        "negative",
        r"(?:costophrenic|cp) (?:angles?|sulci|sulcus|recess(?:es)?) (?:\w+ ){0,3}(?:sharp|clear|preserved)|"
        r"(?:sharp|clear) (?:\w+ )?costophrenic (?:angles?|sulci)|pleural spaces? (?:\w+ ){0,2}clear",
    ),
    (
        "Edema",
        "negative",
        r"(?:pulmonary|vascular) (?:vascular\w*|vasculature|markings) (?:\w+ ){0,6}(?:normal|unremarkable)|"
        r"normal pulmonary vascul\w+",
    ),
    (
        "Fracture",
        "negative",
        r"(?:bon(?:y|es)|osseous|skeletal|ribs?|clavicles) (?:\w+ ){0,5}intact",
    ),
)

# What is said of a finding. The first of these that fits a place counts, so "not excluded" is no denial.
CUES: dict[str, tuple[str, ...]] = {
    # Denies a change, not the finding.
    "ignored": (
        r"(?:no|not|without)(?: any)? (?:(?:significant|interval|appreciable|definite|substantial|acute|"
        r"radiographic|significantly|appreciably) )*(?:change\w*|increas\w+|decreas\w+|progress\w+|worsen\w+|"
        r"improve\w*|enlarg\w+ of (?:the )?(?:effusion|nodule|mass|opacity)|different)",
        r"not only",
        r"no interval change",
    ),
    # What follows is not said to be there at all: a question, or the past.
    "dropped": (
        r"(?:history|hx) of",
        r"evaluat\w+ (?:for|of)",
        r"assess\w* (?:for|of)",
        r"to rule out",
        r"rule out",
        r"r/o",
        r"screening for",
        r"if (?:\w+ ){0,4}(?:concern|suspicion|suspected|tenderness)(?: \w+)?(?: for| of)?",
    ),
    "uncertain_after": (
        r"(?:is|are|remains?)(?: also| a)? (?:possible|possibility|suspected|questioned|likely|considerations?)",
        r"(?:can ?not|could not|can't)(?: be)?(?: \w+)? (?:excluded|ruled out)",
        r"not (?:\w+ )?(?:excluded|ruled out)",
        r"versus|vs\.?(?= )",
        r"less likely",
        r"(?:is|are) in the differential",
    ),
    "uncertain_before": (
        r"possib(?:le|ly|ility of|ilities)",
        r"probabl[ey]",
        r"likely",
        r"may (?:well )?(?:represent|reflect|be|indicate|include|relate)",
        r"might",
        r"could (?:\w+ )?(?:represent|reflect|be|indicate)",
        r"suggest\w*(?: of)?",
        r"suspicious for",
        r"suspicion (?:of|for)",
        r"suspected",
        r"concern\w*(?: for| of)?",
        r"question(?:able|ed| of)?",
        r"(?:can ?not|could not|can't) (?:\w+ )?(?:exclude|rule out)",
        r"worrisome for",
        r"equivocal",
        r"borderline",
        r"presumed?(?:ably)?",
        r"favor\w*",
        r"differential (?:\w+ )*includes?",
        r"perhaps",
        r"appearance of",
        r"represent(?:ing)? either",
        r"compatible with either",
    ),
    "negative_after": (
        r"(?:is|are|was|were|has been|have been|be)? ?(?:not|no longer|never)(?: \w+)? (?:seen|identified|"
        r"noted|present|visuali[sz]ed|demonstrated|evident|appreciated|apparent|detected|observed|found|"
        r"shown|suspected|visible)",
        r"(?:has|have)(?: \w+)?(?: \w+)? (?:resolved|cleared|been removed)",
        r"(?:is|are) (?:now )?(?:absent|resolved|gone)",
        r"(?:is|are|was|were) (?:excluded|ruled out|removed)",
        r": ?(?:none|no|absent|negative)(?= |$|\.)",
    ),
    "negative_before": (
        r"no",
        r"not",
        r"without",
        r"absen(?:t|ce of)",
        r"negative for",
        r"free (?:of|from)",
        r"clear of",
        r"den(?:y|ies)",
        r"neither",
        r"nor",
        r"rather than",
        r"(?:interval )?(?:resolution|clearing|removal) of",
        r"resolved",
        r"lack of",
        r"devoid of",
        r"fails? to (?:show|demonstrate)",
        r"exclud\w+",
        r"removed",
    ),
    # Where what was denied or doubted before ends.
    "stop": (
        r"but",
        r"however",
        r"although",
        r"though",
        r"except\w*(?: for)?",
        r"apart from",
        r"aside from",
        r"other than",
        r"besides",
        r"which",
        r"while",
        r"otherwise",
        r"there (?:is|are|has|have|does|remains?)",
        r"(?:is|are) (?:\w+ )?(?:seen|identified|noted|present|evident|demonstrated|visuali[sz]ed|appreciated)",
        r"with (?=(?:a|an|small|mild|minimal|moderate|large|stable|persistent|residual|associated|bilateral|"
        r"left|right|unchanged|adjacent|some) )",
        r"(?:,|and) (?=(?:stable|mild\w*|minimal\w*|moderate\w*|unchanged|persistent|chronic|residual|the|"
        r"there|possibl[ey]|probabl[ey]|questionable|suspected|likely|old|healed|status|again|interval (?:de|"
        r"in)creas\w+) )",
    ),
}

SIDES = {
    "bilateral": r"bilateral\w*|both|bibasilar|bibasal|biapical|(?:left and right|right and left)",
    "left": r"left(?: sided)?|lingula\w*",
    "right": r"right(?: sided)?",
}
