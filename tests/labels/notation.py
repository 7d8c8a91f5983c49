"""How the tests of the rule labeller write what a report says: "-pneumothorax +effusion ?edema normal"."""

from cxr_jax.labels.rules import OBSERVATIONS

SIGNS = {"+": "positive", "-": "negative", "?": "uncertain"}
SHORT = {
    "mediastinum": "Enlarged Cardiomediastinum",
    "heart": "Cardiomegaly",
    "opacity": "Lung Opacity",
    "lesion": "Lung Lesion",
    "effusion": "Pleural Effusion",
    "pleura": "Pleural Other",
    "device": "Support Devices",
} | {name.lower(): name for name in OBSERVATIONS}
