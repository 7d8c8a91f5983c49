"""What a drawn study shows and how its report says so: the table of findings, the sampler, the grammar, the tags.

Adding a finding is one entry in `KINDS` here and one drawing function of the same name in `phantom_drawing`.
"""

import re
from dataclasses import dataclass

import numpy as np

NORMAL_SHARE = 1 / 3
# How many findings an abnormal study has. Most have one or two: retrieval can only return whole reports, and a set of
# four findings is rarely met twice.
COUNT_SHARES = {1: 0.52, 2: 0.32, 3: 0.12, 4: 0.04}
COMPANION_BOOST = 3.0

SIDES = ("right", "left")
LOBES = ("upper lobe", "middle lobe", "lower lobe")
DEGREES = ("mild", "moderate", "severe")
SIZES = ("small", "moderate", "large")


@dataclass(frozen=True)
class Finding:
    """One thing to be seen in a study; an empty string means that the kind has no such attribute."""

    kind: str
    side: str = ""
    place: str = ""
    severity: str = ""

    @property
    def tag(self) -> str:
        """The Open-i style tag: the heading, then its qualifiers, separated by slashes."""
        return KINDS[self.kind].tag.format(side=self.side, place=self.place, severity=self.severity)

    @property
    def label(self) -> str:
        """Heading and side only, such as "Pneumothorax/left": what retrieval is scored by."""
        return "/".join(part for part in (KINDS[self.kind].heading, self.side) if part)


@dataclass(frozen=True)
class Kind:
    """A kind of finding: how often, where, how it is called in tags and in prose.

    `mention` is a regular expression that each affirmative wording of this kind matches and no other kind's does;
    `absent` are the noun phrases that deny it ("no ..."). Templates take {side}, {place} and {severity}.
    """

    tag: str
    statements: tuple[str, ...]
    summaries: tuple[str, ...]
    mention: str
    weight: float = 1.0
    sides: tuple[str, ...] = ("",)
    places: tuple[str, ...] = ("",)
    severities: tuple[str, ...] = ("",)
    bilateral_statements: tuple[str, ...] = ()
    bilateral_summaries: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    region: str = "lungs"
    excludes: tuple[str, ...] = ()  # kinds that this one would hide, or that would hide it, on the same side
    companions: tuple[str, ...] = ()  # kinds more likely beside this one

    @property
    def heading(self) -> str:
        """The tag's first part, unique to the kind."""
        return self.tag.split("/")[0]


KINDS: dict[str, Kind] = {
    "cardiomegaly": Kind(
        tag="Cardiomegaly/{severity}",
        severities=DEGREES,
        weight=1.3,
        region="heart",
        mention=r"cardiomegaly|enlarged|enlargement of the (heart|cardiac)",
        statements=(
            "The heart is {severity}ly enlarged.",
            "There is {severity} cardiomegaly.",
            "The cardiac silhouette is {severity}ly enlarged.",
            "{severity} enlargement of the cardiac silhouette is noted.",
        ),
        summaries=("{severity} cardiomegaly.", "Cardiomegaly, {severity}."),
        absent=("cardiomegaly",),
        companions=("edema", "effusion", "sternotomy", "pacemaker"),
    ),
    "effusion": Kind(
        tag="Pleural Effusion/{side}/{severity}",
        sides=("right", "left", "bilateral"),
        severities=SIZES,
        weight=2.7,
        region="pleura",
        mention=r"effusions?|pleural fluid|blunting of the .*costophrenic",
        statements=(
            "There is a {severity} {side} pleural effusion.",
            "A {severity} pleural effusion is present on the {side}.",
            "{severity} {side}-sided pleural effusion blunts the costophrenic angle.",
            "Layering pleural fluid is seen at the {side} base, {severity} in amount.",
        ),
        bilateral_statements=(
            "There are {severity} bilateral pleural effusions.",
            "{severity} pleural effusions are present bilaterally.",
            "Bilateral pleural effusions are {severity} in size.",
        ),
        summaries=("{severity} {side} pleural effusion.", "{side} pleural effusion, {severity}."),
        bilateral_summaries=("{severity} bilateral pleural effusions.", "Bilateral pleural effusions, {severity}."),
        absent=("pleural effusion", "large pleural effusion", "effusion"),
        excludes=("atelectasis", "consolidation", "elevated", "hyperinflation"),
        companions=("edema", "cardiomegaly"),
    ),
    "pneumothorax": Kind(
        tag="Pneumothorax/{side}/apex/{severity}",
        sides=SIDES,
        severities=SIZES,
        weight=2.0,
        region="pleura",
        mention=r"pneumothorax|pleural line",
        statements=(
            "There is a {severity} {side} apical pneumothorax.",
            "A {severity} {side} pneumothorax is present at the apex.",
            "{severity} {side}-sided pneumothorax with a visible apical pleural line.",
            "A pleural line is seen at the {side} apex, consistent with a {severity} pneumothorax.",
        ),
        summaries=("{severity} {side} pneumothorax.", "{side} apical pneumothorax, {severity}."),
        absent=("pneumothorax",),
        excludes=("hyperinflation", "nodule", "granuloma", "consolidation", "edema"),
        companions=("central_line",),
    ),
    "consolidation": Kind(
        tag="Consolidation/lung/{place}/{side}",
        sides=SIDES,
        places=LOBES,
        weight=2.2,
        mention=r"consolidation|airspace (disease|opacity)|pneumonia",
        statements=(
            "There is consolidation in the {side} {place}.",
            "Patchy airspace disease is seen in the {side} {place}.",
            "Focal airspace opacity with air bronchograms in the {side} {place}.",
            "{side} {place} consolidation is present.",
        ),
        summaries=("{side} {place} pneumonia.", "{side} {place} airspace disease.", "{side} {place} consolidation."),
        absent=("focal consolidation", "focal airspace disease", "airspace consolidation"),
        excludes=("atelectasis", "nodule", "elevated"),
    ),
    "nodule": Kind(
        tag="Nodule/lung/{place}/{side}",
        sides=SIDES,
        places=LOBES,
        weight=2.0,
        mention=r"nodule|nodular density",
        statements=(
            "There is a rounded nodule in the {side} {place}.",
            "A solitary noncalcified nodule projects over the {side} {place}.",
            "{side} {place} pulmonary nodule is noted.",
            "A well-circumscribed nodular density is seen within the {side} {place}.",
        ),
        summaries=(
            "{side} {place} nodule, recommend CT.",
            "{side} {place} pulmonary nodule.",
            "Solitary nodule in the {side} {place}.",
        ),
        absent=("suspicious pulmonary nodule", "pulmonary nodules"),
        excludes=("granuloma",),
    ),
    "granuloma": Kind(
        tag="Calcified Granuloma/lung/{place}/{side}",
        sides=SIDES,
        places=LOBES,
        weight=2.0,
        mention=r"granuloma",
        statements=(
            "There is a small calcified granuloma in the {side} {place}.",
            "A dense calcified granuloma is seen in the {side} {place}.",
            "Calcified {side} {place} granuloma.",
            "Punctate calcified granuloma projecting over the {side} {place}.",
        ),
        summaries=("Calcified {side} {place} granuloma.", "{side} {place} calcified granuloma, chronic."),
    ),
    "atelectasis": Kind(
        tag="Pulmonary Atelectasis/base/{side}",
        sides=SIDES,
        weight=1.9,
        mention=r"atelecta(sis|tic)",
        statements=(
            "There is linear atelectasis at the {side} lung base.",
            "Bandlike opacities at the {side} base are compatible with subsegmental atelectasis.",
            "Streaky {side} basilar atelectasis is noted.",
            "{side} basilar atelectatic bands are present.",
        ),
        summaries=("{side} basilar atelectasis.", "Subsegmental atelectasis at the {side} base."),
        excludes=("elevated",),
    ),
    "hyperinflation": Kind(
        tag="Lung/hyperdistention",
        weight=1.1,
        region="volume",
        mention=r"hyperinflat|hyperexpan|flattening of the (hemi)?diaphragm|emphysema",
        statements=(
            "The lungs are hyperinflated with flattening of the diaphragms.",
            "The lungs are hyperexpanded.",
            "There is flattening of the hemidiaphragms consistent with hyperinflation.",
            "Lungs are markedly hyperexpanded and lucent.",
        ),
        summaries=(
            "Hyperinflated lungs, suggesting emphysema.",
            "Pulmonary hyperexpansion.",
            "Emphysema with hyperinflation.",
        ),
        excludes=("elevated", "edema"),
    ),
    "elevated": Kind(
        tag="Diaphragm/{side}/elevated",
        sides=SIDES,
        weight=1.8,
        region="volume",
        mention=r"hemidiaphragm elevation|elevation of the|elevated",
        statements=(
            "There is elevation of the {side} hemidiaphragm.",
            "The {side} hemidiaphragm is elevated.",
            "Asymmetric elevation of the {side} hemidiaphragm is noted.",
            "Elevated {side} hemidiaphragm with volume loss at that base.",
        ),
        summaries=("Elevated {side} hemidiaphragm.", "{side} hemidiaphragm elevation, of uncertain cause."),
        excludes=("pneumothorax",),
    ),
    "edema": Kind(
        tag="Pulmonary Edema/{severity}",
        severities=DEGREES,
        weight=1.1,
        mention=r"edema|vascular congestion|interstitial lines",
        statements=(
            "There is {severity} pulmonary edema with perihilar haze.",
            "{severity} pulmonary vascular congestion and interstitial lines, compatible with edema.",
            "Perihilar opacities are consistent with {severity} pulmonary edema.",
            "{severity} interstitial edema is present with cephalization of the vessels.",
        ),
        summaries=("{severity} pulmonary edema.", "Findings of {severity} pulmonary edema."),
        absent=("pulmonary edema", "overt edema"),
        companions=("cardiomegaly", "effusion"),
    ),
    "hernia": Kind(
        tag="Hernia, Hiatal/{severity}",
        severities=("small", "moderate", "large"),
        weight=1.1,
        region="mediastinum",
        mention=r"hernia|retrocardiac (opacity|density)",
        statements=(
            "There is a {severity} hiatal hernia.",
            "A {severity} hiatal hernia is seen behind the heart.",
            "Rounded retrocardiac density with central lucency represents a {severity} hiatal hernia.",
            "{severity} retrocardiac opacity with an air-fluid level, compatible with hiatal hernia.",
        ),
        summaries=("{severity} hiatal hernia.", "Hiatal hernia, {severity}."),
    ),
    "scoliosis": Kind(
        tag="Scoliosis/thoracic vertebrae/{side}/{severity}",
        sides=SIDES,
        severities=DEGREES,
        weight=1.8,
        region="bones",
        mention=r"scolio(sis|tic)|curvature",
        statements=(
            "There is {severity} scoliosis of the thoracic spine, convex to the {side}.",
            "{severity} {side} convex curvature of the thoracic spine is noted.",
            "The thoracic spine shows a {severity} scoliotic curve with convexity to the {side}.",
            "{severity} thoracic scoliosis, {side} convex.",
        ),
        summaries=("{severity} {side} convex thoracic scoliosis.", "Thoracic scoliosis, {side} convex."),
    ),
    "pacemaker": Kind(
        tag="Implanted Medical Device/{side}",
        sides=SIDES,
        weight=1.8,
        region="devices",
        mention=r"pacemaker|pacer|generator",
        statements=(
            "A {side} chest wall pacemaker is present with leads in the right heart.",
            "{side} subclavian dual lead pacemaker is in place.",
            "A {side}-sided cardiac pacer generator overlies the chest, with intact leads.",
            "There is a {side} pectoral generator with two leads.",
        ),
        summaries=("{side}-sided pacemaker in place.", "{side} chest pacemaker."),
        excludes=("central_line",),
        companions=("cardiomegaly",),
    ),
    "sternotomy": Kind(
        tag="Surgical Instruments/mediastinum",
        weight=1.1,
        region="devices",
        mention=r"sternotomy|sternal wires",
        statements=(
            "Median sternotomy wires are present.",
            "There are intact midline sternotomy wires.",
            "The patient is status post median sternotomy.",
            "Sternal wires project over the midline.",
        ),
        summaries=("Prior median sternotomy.", "Postoperative changes of sternotomy."),
        companions=("cardiomegaly",),
    ),
    "central_line": Kind(
        tag="Catheters, Indwelling/{side}",
        sides=SIDES,
        weight=1.8,
        region="devices",
        mention=r"catheter|central (venous )?line|central venous access",
        statements=(
            "A {side} central venous catheter ends in the SVC.",
            "{side} internal jugular central line has its tip in the superior vena cava.",
            "There is a {side}-sided central venous line with the tip at the lower SVC.",
            "{side} central venous access with the catheter tip projecting over the SVC.",
        ),
        summaries=("{side} central venous catheter in good position.", "{side} central line with tip in the SVC."),
    ),
}

NORMAL_BY_REGION: dict[str, tuple[str, ...]] = {
    "heart": (
        "Heart size is normal.",
        "The heart is of normal size.",
        "Cardiac silhouette within normal limits.",
        "Heart size and contour are unremarkable.",
    ),
    "mediastinum": (
        "The mediastinal contours are unremarkable.",
        "Mediastinum is within normal limits.",
        "The hilar and mediastinal contours are normal.",
        "The aorta and mediastinum appear normal.",
    ),
    "lungs": (
        "The lungs are clear.",
        "Both lungs are clear.",
        "Clear lungs bilaterally.",
        "No acute abnormality is identified in the lung parenchyma.",
    ),
    "volume": (
        "Lung volumes are normal.",
        "The lungs are normally expanded.",
        "Normal inspiration and lung volumes.",
    ),
    "pleura": (
        "The pleural spaces are clear.",
        "Costophrenic angles are sharp.",
        "Pleural surfaces are unremarkable.",
    ),
    "bones": (
        "No acute bony abnormality.",
        "Osseous structures are intact.",
        "The visualized skeleton is unremarkable.",
        "Bony thorax is intact.",
    ),
}
# Chance that a normal region is spoken of; radiologists leave out what is not in question.
REGION_SHARES = {"heart": 0.7, "mediastinum": 0.4, "lungs": 0.6, "volume": 0.2, "pleura": 0.2, "bones": 0.4}
DENIED_FINDINGS = (0.6, 0.3, 0.1)  # the share of reports that deny none, one or two
DENIALS = ("No {}.", "There is no {}.", "No evidence of {}.", "There is no evidence of {}.", "Negative for {}.")
DENIAL = re.compile(r"\b(no|not|without|negative)\b", re.IGNORECASE)
NORMAL_SUMMARIES = (
    "No acute cardiopulmonary abnormality.",
    "No acute disease.",
    "Normal chest radiographs.",
    "No acute cardiopulmonary process identified.",
    "Negative chest examination.",
)
COMPLAINTS = (
    "chest pain",
    "shortness of breath",
    "cough",
    "cough and fever",
    "dyspnea on exertion",
    "preoperative evaluation",
    "dizziness",
    "hypoxia",
    "chest tightness, wheezing",
    "trauma",
    "positive PPD",
    "XXXX",
)
INDICATIONS = ("{}.", "XXXX-year-old male with {}.", "XXXX-year-old female with {}.", "{}", "Evaluate for XXXX, {}.")
COMPARISONS = (
    "None.",
    "None available.",
    "XXXX.",
    "Chest radiographs from XXXX.",
    "PA and lateral chest XXXX.",
    "None",
)
# Words that Open-i's de-identification may have taken: none of them carries a finding, a side, a place or a degree.
REDACTABLE = frozenset(
    {"evidence", "radiographs", "visualized", "identified", "limits", "noted", "contours", "findings"}
)
REDACTION_SHARE = 0.12


@dataclass(frozen=True)
class Report:
    """The four sections of one report and its tags."""

    comparison: str
    indication: str
    findings: str
    impression: str
    tags: tuple[str, ...]


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]


def _sides_meet(one: str, other: str) -> bool:
    return one == other or "" in (one, other) or "bilateral" in (one, other)


def _clash(one: Finding, other: Finding) -> bool:
    if one.kind == other.kind:
        return True
    excluded = other.kind in KINDS[one.kind].excludes or one.kind in KINDS[other.kind].excludes
    return excluded and _sides_meet(one.side, other.side)


def _sample_finding(rng: np.random.Generator, name: str) -> Finding:
    kind = KINDS[name]
    side = _pick(rng, kind.sides)
    # The left lung has no middle lobe.
    places = tuple(place for place in kind.places if (side, place) != ("left", "middle lobe"))
    return Finding(name, side, _pick(rng, places), _pick(rng, kind.severities))


def sample_findings(rng: np.random.Generator) -> tuple[Finding, ...]:
    """What one study shows: nothing in a third of the studies, else one to four findings that can stand together."""
    if rng.random() < NORMAL_SHARE:
        return ()
    count = int(rng.choice(list(COUNT_SHARES), p=list(COUNT_SHARES.values())))
    weights = {name: kind.weight for name, kind in KINDS.items()}
    chosen: list[Finding] = []
    while len(chosen) < count:
        total = sum(weights.values())
        name = str(rng.choice(list(weights), p=[weight / total for weight in weights.values()]))
        finding = _sample_finding(rng, name)
        if any(_clash(finding, other) for other in chosen):
            continue
        chosen.append(finding)
        for companion in KINDS[name].companions:
            weights[companion] *= COMPANION_BOOST
    return tuple(chosen)


def _sentence(template: str, finding: Finding) -> str:
    text = template.format(side=finding.side, place=finding.place, severity=finding.severity)
    return text[0].upper() + text[1:]


def state(finding: Finding, rng: np.random.Generator) -> str:
    """One affirmative sentence for the FINDINGS section."""
    kind = KINDS[finding.kind]
    return _sentence(_pick(rng, kind.bilateral_statements if finding.side == "bilateral" else kind.statements), finding)


def summarise(finding: Finding, rng: np.random.Generator) -> str:
    """One affirmative phrase for the IMPRESSION section."""
    kind = KINDS[finding.kind]
    return _sentence(_pick(rng, kind.bilateral_summaries if finding.side == "bilateral" else kind.summaries), finding)


def affirmed_kinds(sentence: str) -> tuple[str, ...]:
    """The kinds of finding that a sentence in the words of drawn reports affirms; none where it denies something."""
    if DENIAL.search(sentence):
        return ()
    return tuple(name for name, kind in KINDS.items() if re.search(kind.mention, sentence, re.IGNORECASE))


def _join_or(phrases: list[str]) -> str:
    if len(phrases) < 3:
        return " or ".join(phrases)
    return ", ".join(phrases[:-1]) + ", or " + phrases[-1]


def _denials(present: set[str], rng: np.random.Generator) -> list[str]:
    deniable = [name for name, kind in KINDS.items() if kind.absent and name not in present]
    # Few: what is denied far more often than it is found takes a small text tower very long to tell apart.
    names = rng.permutation(deniable)[: int(rng.choice(3, p=DENIED_FINDINGS))]
    phrases = [_pick(rng, KINDS[name].absent) for name in names]
    cut = int(rng.integers(1, len(phrases) + 1)) if phrases else 0
    return [_pick(rng, DENIALS).format(_join_or(group)) for group in (phrases[:cut], phrases[cut:]) if group]


def _normal_statements(findings: tuple[Finding, ...], rng: np.random.Generator) -> list[str]:
    touched = {KINDS[finding.kind].region for finding in findings}
    return [
        _pick(rng, wordings)
        for region, wordings in NORMAL_BY_REGION.items()
        if rng.random() < REGION_SHARES[region] and region not in touched
    ]


def _redact(text: str, rng: np.random.Generator) -> str:
    words = text.split(" ")
    for place, word in enumerate(words):
        core = word.rstrip(".,")
        if core in REDACTABLE and rng.random() < REDACTION_SHARE:
            words[place] = "XXXX" + word[len(core) :]
    return " ".join(words)


def _impression(findings: tuple[Finding, ...], rng: np.random.Generator) -> str:
    if not findings:
        return _pick(rng, NORMAL_SUMMARIES)
    phrases = [summarise(finding, rng) for finding in findings]
    if len(phrases) > 1 and rng.random() < 0.6:
        phrases = [f"{number}. {phrase}" for number, phrase in enumerate(phrases, start=1)]
    return " ".join(phrases)


def write_report(findings: tuple[Finding, ...], rng: np.random.Generator) -> Report:
    """The report of a study that shows `findings`: each is stated in FINDINGS, nothing else is affirmed."""
    present = {finding.kind for finding in findings}
    stated = [state(finding, rng) for finding in findings]
    others = _normal_statements(findings, rng) + _denials(present, rng)
    # Radiologists tend to lead with what is wrong, but not always.
    sentences = stated + [others[i] for i in rng.permutation(len(others))]
    if rng.random() < 0.4:
        sentences = [sentences[i] for i in rng.permutation(len(sentences))]
    complaint = _pick(rng, INDICATIONS).format(_pick(rng, COMPLAINTS))
    return Report(
        comparison=_pick(rng, COMPARISONS),
        indication=complaint[0].upper() + complaint[1:],
        findings=_redact(" ".join(sentences), rng),
        impression=_redact(_impression(findings, rng), rng),
        tags=tuple(finding.tag for finding in findings) or ("normal",),
    )
