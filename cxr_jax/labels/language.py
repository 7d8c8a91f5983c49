"""Whether a report is in English, the only language that the rules read."""

import re

_LETTERS = re.compile(r"[^\W\d_]+")
_ENGLISH = frozenset(
    _LETTERS.findall("""
    the is are was were has have been be and of with without there this that not at or for to from by may
    evidence seen clear left right small large mild bilateral lung lungs heart chest size
    """)
)
# Frequent words of German, French, Spanish, Portuguese, Italian and Dutch that no English report has.
_FOREIGN = frozenset(
    _LETTERS.findall("""
    kein keine keinen keiner keinerlei nicht ohne und oder der dem ein eine einer ist sind mit bei beidseits links
    linken linker linke rechts rechten rechter rechte unauffällig zustand verdacht erguss pleuraerguss herz lunge
    kleiner kleines großer nachweis regelrecht normales normale normaler altersentsprechend pas les du une est
    sont avec gauche droit droite gauches droits dans aux coeur cœur poumons poumon normaux épanchement minime signe
    hay sin con del las el se una derecho derecha izquierdo izquierda derrame corazon pulmones tamaño torax ni
    observa observan aprecia evidencia signos cardiomegalia neumotorax neumonia pulmonar sem não nao há dos
    direita direito esquerda esquerdo coração pulmões sinais di della delle il gli nel nei senza sinistro sinistra
    destro destra versamento cuore polmoni torace né polmonite polmonare cardiomegalie kardiomegalie atelectasia
    atelectasias atelektase atelektasen nodulo nodulos fractura fracturas pulmonaire pulmonaires thoracique cardiaque
    cardiaca cardiaco ingen inga ikke uden og och utan venstre højre vänster höger hjertet hjerte hjärtat geen het een
    ausgeschlossen ausgeprägt jantung paru tidak ada efusi ausencia consolidaciones consolidación silueta masas masa
    estudio radiografía radiografia akciger akciğer grafisi infiltrati pleuritis de en los las absence épaississement
    beiderzijds normaal hart longen zonder aanwijzingen
    """)
)
_ACCENTED = re.compile(r"[^\W\d_a-zA-Z]")


def is_english(report: str) -> bool:
    """False where more of its words are foreign, or have letters that English lacks, than are common English ones."""
    words = set(_LETTERS.findall(report.lower()))
    foreign = len(words & _FOREIGN)
    if not report.isascii():
        foreign += sum(bool(_ACCENTED.search(word)) for word in words - _FOREIGN)
    return foreign == 0 or foreign <= len(words & _ENGLISH)
