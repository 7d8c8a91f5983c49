"""Whether a report speaks of an earlier examination, which whoever gets it for another image does not have."""

import re

_EXAM = (
    r"(?:exam(?:ination)?s?|stud(?:y|ies)|films?|radiographs?|x-?rays?|images?|imaging|ct|cts|cxrs?|scans?|reports?"
    r"|chest|tomograph\w*|comparison|evaluation)"
)
_EARLIER = r"(?:prior|previous|earlier|preceding|last|most recent|older|outside)"
_PRIOR = re.compile(
    rf"""\b(?:
    compar(?:ed|ison|ing)\b(?!\s*:?\s*(?:none|not\ available|no\ |n/a|unavailable))
    | {_EARLIER}\s(?:[^\s.]+\s){{0,2}}{_EXAM}\b
    | (?:since|from|than|to|as\ on|unlike)\s(?:the\s)?{_EARLIER}\b
    | (?:previous|prior)ly\b
    | interval\b(?!\s(?:follow|radiograph|imaging))  # "short interval follow-up" is yet to come
    | (?:un|no\ (?:significant\ |interval\ |appreciable\ )*)chang(?:ed|e)\b
    | (?:again|re)[\s-]?(?:seen|noted|demonstrated|identified|visualized|shown|evident)\b
    | (?<!clinically\ )(?<!hemodynamically\ )stable\b
    | (?:has|have)\s(?:[^\s.]+ly\s|also\s|since\s)?(?:resolved|improved|increased|decreased|progressed|worsened|cleared
        |enlarged|regressed|diminished|developed|been\s(?:removed|placed|extubated|advanced|withdrawn))\b
    | (?:worsen(?:ed|ing)|improv(?:ed|ing)|progressi(?:ng|on))\b
    | no\slonger\s(?:seen|present|visualized|identified|evident)\b
    | new\s(?:since|from|when|compared|[^\s.]+\s(?:since|from|compared))\b | (?:is|are)\snew\b
    | persist(?:ent|s|ing)\s(?:[^\s.]+\s){{0,4}}(?:opacit|effusion|consolidation|atelecta|pneumothora|infiltrat|edema)
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def speaks_of_prior(report: str) -> bool:
    """Whether the report compares with, or refers to, an earlier examination.

    "Prior surgery", "previous fracture" and "comparison: none" are of none. After the idea of CXR-ReDonE (Ramesh et al.
    2022), whose list of words this is not.
    """
    return _PRIOR.search(" ".join(report.split())) is not None
