"""The words by which reports name CheXpert's observations and other findings, and say that a place is normal or not.

A phrase is words with blanks between: `a|b` is either word, `c*` any word that starts so, `d?` a word that may be left
out, `~` up to five words of any kind. Hyphens and slashes count as blanks; other punctuation is seen
where `labels.words` makes a word of it.
"""

# CheXpert's order.
OBSERVATIONS = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
    "No Finding",
)

# Pseudo-observations, which only bear on "No Finding": a finding that is none of CheXpert's; disease in general, heard
# where it is denied ("no acute disease"); and whatever is said to be normal.
OTHER, DISEASE, NORMAL = "other", "disease", "normal"

# What names an observation by itself. "" names none of them, and keeps its words from naming another.
NAMES = {
    "Enlarged Cardiomediastinum": """
        mediastinal mass|masses
    """,
    "Cardiomegaly": """
        cardiomeg*
        megalocardia
    """,
    "Lung Opacity": """
        opacit*|opacif*|opacties|opacites|opactiy
        infiltrat*|infiltate|infitrate
        airspace|alveolar disease|diseases|process|processes
        air space disease|diseases|process|processes
        interstitial lung? disease|process|pattern|prominence|thickening|abnormality|change|changes|fibrosis
        interstitial lung|pulmonary? marking*
        reticular|reticulonodular pattern|marking|markings|change|changes
        reticulation*
        ground glass
        densit*
        increased attenuation
        haziness
        scar|scars|scarring|scaring
        pleuro|pleural parenchymal|pericardial scar*
        pulmonary|lung fibrosis
        fibrosis
        fibrotic change|changes|scarring
        peribronchial thickening|cuffing
        bronchial wall? thickening
    """,
    "Lung Lesion": """
        nodul*
        mass|masses|masslike
        mass like
        lump
        lung|pulmonary|cavitary|parenchymal|focal|nodular lesion|lesions
        lesion|lesions in|within|of the? left|right? upper|middle|lower|mid? lung|lungs|lobe|apex|base
        cavitation*
        carcinoma*|neoplas*|tumor*
        mediastinal mass|masses
    """,
    "Edema": """
        edema|oedema|edematous
        pulmonary|interstitial|alveolar edema
        congestive? heart|cardiac failure
        chf
        vascular|pulmonary|venous|pulmonary vascular|venous? congestion
        vascular engorgement|prominence
        vascular redistribution|indistinctness|margination
        indistinct central|pulmonary? vascul*
        cephalization
        pulmonary? venous hypertension
        fluid|volume overload
        congestive failure|changes|change
    """,
    "Consolidation": """
        consolidat*|consoldation*|consilidation*
    """,
    "Pneumonia": """
        pneumonia*|bronchopneumonia*|pnuemonia|penumonia|pneumoina
        pneumonitis
        infection*
        infectious
        infectious process|processes|disease|etiology
    """,
    "Atelectasis": """
        atelect*|atelact*|atlectasis|atelelectasis
        collapse of the? rll|rml|rul|lll|lul
        lobar|lung|lobe|pulmonary|rll|rml|rul|lll|lul|lingular collapse
        collapse|collapsed of? the? right|left? upper|middle|lower? lung|lobe
    """,
    "Pneumothorax": """
        pneumothora*|pneumothroax|penumothora*|pnuemothora*|pneumothoax|pneumthorax|pneumothrorax
        pneumonthora*|pneumonothora*
        hydropneumothora*|hemopneumothora*
        ptx
    """,
    "Pleural Effusion": """
        effusion*|effussion*|efusion*|effsuion*
        pleural effusion*|effussion*
        pleural fluid
        pleural fluid collection|collections
        hydropneumothora*|hemopneumothora*
        hydrothora*|hemothora*
        fluid in the? right|left? pleural space|cavity
        fluid in|within the? minor|major|horizontal|right? fissure|fissures
        costophrenic|angle effusion*
    """,
    "Pleural Other": """
        pleural thickening|plaque*|scar*|calcification*|fibrosis|reaction
        thickening of the? pleura|fissure|fissures
        fissural|pleural thickening
        pleural peripheral scar*
        thickened fissure|fissures
        pleural based scar*|thickening
        pleuroparenchymal|pleuropericardial scar*|thickening
        pleuro|pleural parenchymal|pericardial scar*
        apical|biapical|pleural cap|caps|capping
        apical|biapical pleural? thickening
        fibrothorax
    """,
    "Fracture": """
        fractur*|fracure*|fx
    """,
    "Support Devices": """
        catheter*
        port|portacath|mediport|chemoport|infusaport|portocath
        port a cath|catheter
        tube|tubes|tubing
        ett|picc
        central|picc|venous|vein|arterial|dialysis|jugular|ij|subclavian|svc|iv|support line|lines
        pacemaker*|pacer|pacers|aicd|icd|defib*
        pacemaker|pacer|pacing|icd|aicd|defib*|ventricular|atrial device|lead|leads|generator|wire|wires
        leads
        balloon pump|device
        tracheostomy
        device|devices
        stent|stents
        valve replacement|prosthesis|prostheses
        hardware
        arthroplast*|prosthe*|bioprosthe*
        mechanical|artificial heart|mitral|aortic? valve|valves
        stimulator*|shunt|shunts
        vena|ivc cava|caval? filter
        spinal|spine|cervical|thoracic|lumbar|anterior|posterior spine|spinal|cervical? fusion
        tip|tips ~ ~ svc|cava|cavoatrial|atriocaval|caval|atrium|carina|stomach
        catheter|screw|screws|lead|wire is|are? fracture|fractured
        fractured catheter|screw|screws|lead|wire
        drain|drains
        plate|plates|screw|screws
        spinal|fixation|harrington rod|rods
        spinal|spine|surgical fixation
        cannula*
        coil|coils
    """,
    "": """
        joint|knee effusion*
        normal position|location|positions|variant|manner|saline
        tuberculosis|tb|tuberculin|ppd skin? test|tests|testing|screening|screen|exposure|clearance
        subcutaneous|soft|tissue|peripheral|limb edema
        soft tissue edema
        mass effect
        bone|bony|osseous|lytic|blastic|sclerotic|destructive|skeletal|rib|acute? bony lesion|lesions
        breast mass|masses|nodule|nodules|prosthe*|implant*|density|densities
        bone|bony|mineral|metallic|metal|calcific|calcified|soft|tissue|cardiac|heart densit*
        soft tissue densit*
        granulomatous|histoplasmosis|prior|old|remote|previous|fungal infection*|infectious
        prior|old|remote|previous granulomatous|histoplasmosis|fungal|tuberculosis|tuberculous infection*|infectious
        cardiac|external? monitor|monitoring|ekg|ecg lead|leads|wire|wires|device|devices
        external lead|leads|wire|wires|device|devices
        sternotomy|sternal|cerclage wire|wires is|are? fracture|fractured|intact
        fractured sternotomy|sternal wire|wires
        right|left lower|upper extremit* edema
        heart|cardiac rate|rhythm|border|borders|apex|surgery|bypass|valve|valves|contusion|disease
        heart|cardiac chamber*|motion|monitor*
        right|left heart|cardiac border|borders|apex
        lung volume|volumes|inflation
        mediastinal lipomatosis|fat|surgical|clips|surgery|drain
        aortic valve calcification*
        mitral|aortic valve|annul* calcification*
        calcified aortic|mitral valve
        port|portable film|radiograph|chest|examination
        scar* of the? skin
        degenerative plate
        end plate|plates
        endplate*
        dextroscoliosis|levoscoliosis
        airspace
        heart transplant*
        eventration
    """,
}

# A finding that is none of the fourteen, and still keeps a report from "No Finding", as in CheXpert's labeller.
OTHER_FINDINGS = """
    cholelithiasis|gallstone*|gallstones|oligemia|arthritis|arthropathy|croup
    tram track
    barrel chest
    widened|separated ac|acromioclavicular? joint
    distended stomach
    gastric distention|distension
    ventricular hypertrophy
    paralysis|paresis|palsy
    steeple sign
    cervical rib
    paratracheal stripe thickening|widening
    hilar|perihilar fullness|prominence|enlargement
    hemorrhag*|haemorrhag*
    pulmonary arterial? hypertension
    enlarged|dilated|prominent main|central? pulmonary artery|arteries|trunk
    pulmonary artery|arteries|trunk enlargement|dilatation|dilation|is|are? enlarged|dilated?
    lymph node enlargement
    sclerotic|lytic|blastic|destructive rib|bone|bony|osseous|vertebral? lesion*|destruction|metasta*
    bone|bony|osseous|rib destruction|erosion|erosions|notching
    rib notching|erosion|erosions
    silicosis|asbestosis|pneumoconios*|silicotic
    ild|lymphangit*
    air fluid level|levels
    coin
    mucus|mucous|mucoid plug|plugs|plugging|impaction
    bronchitis|bronchiolitis|bronchiolar
    wedging|wedge of|deformity?
    splenomegaly|hepatomegaly|hepatosplenomegaly|achalasia
    pectus
    soft tissue swelling
    miliary
    bullous
    cavity|cavities|cavitary
    fungal|fungus ball|balls
    tree in bud
    left|right atrial|ventricular enlargement|dilatation|dilation
    subcutaneous|subcutanous|surgical air|gas|emphysema
    dilated esophagus|oesophagus
    esophageal|oesophageal dilatation|dilation
    tracheal|airway stenosis|narrowing|compression
    unfolded|unfolding aorta|of?
    diaphragm|hemidiaphragm|hemidiaphragms is|are? raised|high|elevated
    raised right|left? diaphragm|hemidiaphragm
    fibrotic|fibrous strand|strands|stranding|band|bands
    emphysem*
    hyperinflat*|hyperexpan*|hyperaerat*|hyperluc*
    copd
    chronic obstructive
    blunted|blunting|blunt
    calcif*|calcinosis
    scoliosis|kyphosis|kyphoscoliosis|dextroscoliosis|levoscoliosis
    hernia|hernias
    granulom*
    calcified lymph? node|nodes|granuloma*
    eventration|elevation|elevated
    bulla|bullae|blebs
    bronchiectas*
    pneumoperitoneum|pneumomediastinum|pneumopericardium
    free|intraperitoneal|subdiaphragmatic|infradiaphragmatic|extraluminal intraperitoneal|subdiaphragmatic? air|gas
    air|gas|lucency under|beneath|below the? right|left? diaphragm|hemidiaphragm
    adenopath*|lymphadenopath*|lymphoma*|sarcoid*
    hilar|mediastinal|paratracheal lad
    enlarged|prominent|mediastinal|hilar|calcified hilar|mediastinal? lymph? node|nodes
    mediastinal lymph*|adenopath*|calcification*|granuloma*
    mediastinal and|or right|left? hilar lymph*|adenopath*|calcification*|granuloma*|node*
    calcified mediastinal
    hilar mediastinal? lymph*|adenopath*|node*
    mediastinal|tracheal shift|deviation
    shift|deviation of the? mediastinum|trachea
    trachea is? deviated|shifted
    kerley*
    septal line|lines|thickening
    tuberculosis|tuberculous|tb|mycobacteri*
    pericardial effusion*|thickening|fluid|calcification*
    metasta*|malignan*|cancer*|mets|thymoma*|goiter*|goitre*
    cyst|cysts|cystic|honeycomb*|pneumatocele*
    abscess*|empyema*|aspergill*|mycetoma*
    pulmonary|lung embol*|infarct*
    aspiration
    air bronchogram*
    volume loss
    air trapping
    flattened|flattening
    dextrocardia
    situs inversus
    foreign body|bodies
    dislocat*|subluxation
    bowel obstruction
    dissection*|pneumatosis|ascites|bullet*|shrapnel
    right sided? aortic arch
    dilated bowel
    ileus
    abnormal*
    degenerative|osteophyt*|spondylosis|osteopenia|osteopenic|osteoporosis
    atheroscl*|tortuous|tortuosity|ectasia|ectatic|aneurysm*
    deformity|deformities
    pleural abnormality
    lytic|blastic|sclerotic|destructive lesion*
"""

DISEASES = """
    acute|active|significant? cardiopulmonary|pulmonary|cardiac|intrathoracic|thoracic|chest? disease|diseases|process
    acute|active|significant? cardiopulmonary|pulmonary|cardiac|intrathoracic|thoracic|chest? pathology|processes
    acute|active cardiopulmonary|pulmonary|cardiac|intrathoracic? change|changes|problem|problems|event|illness
    finding|findings
"""
# Says by itself that all is well.
ALL_NORMAL = """
    negative|neg chest|cxr|radiograph|radiographs|exam|examination|study|film|films|x
    chest|cxr|radiograph|radiographs|exam|examination|study|film|films is|was? negative|neg|:no
    nothing|nil acute|active|significant
    normally|well expanded|aerated|inflated
    nad
    wnl
"""

# A place, and what its being normal or not says. "big" is enlarged, wide, prominent; places of no observation are here
# so that what is said of them is not taken as said of the heart.
PLACES = {
    "heart": """
        heart|cardiac
        heart|cardiac size|silhouette|shadow|contour|contours|outline|silouhette|silhoutte|sillhouette
        heart size and? contour
    """,
    "mediastinum": """
        mediastinum|mediastinal
        mediastinal silhouette|contour|contours|shadow|structures
        mediastinal and|or hilar contours|silhouette*
        superior|upper mediastin*
    """,
    "cardiomediastinum": """
        cardiomediastin*
        cardio mediastin*
        cardiomediastin* silhouette|contour|contours|size|structures|shadow
        cardio mediastin* silhouette|contour|contours|size|structures|shadow
        cardiopericardial silhouette
    """,
    "lungs": """
        lung|lungs
        lung field|fields|parenchyma|bases|apices
        pulmonary parenchyma
    """,
    "pleura": """
        pleural space|spaces|surface|surfaces|margins|recesses
        pleura
        costophrenic|costophrenic|cp|posterior? costophrenic angle|angles|sulcus|sulci|recess|recesses
        lateral costophrenic angle|angles|sulcus|sulci|recess|recesses
        costophrenic
    """,
    "bones": """
        bony|osseous|skeletal structures|thorax|elements
        bones|skeleton|ribs
        osseous
    """,
    "markings": """
        bronchovascular|lung|pulmonary|bronchial|vascular marking*
        bronchovascular|interstitial|peribronchial
        interstitium|markings
    """,
    "hila": """
        hila|hilum|hilar
        hilar region|regions|shadow|shadows|structures
    """,
    "vessels": """
        central? pulmonary|lung? vasculature|vascularity
        pulmonary vessels|veins|vascular
    """,
    "": """
        aorta|aortic|trachea|diaphragm*|hemidiaphragm*|spine|vertebra*|azygos|esophagus|stomach
        aortic arch|knob
        pulmonary|vascular artery|arteries|structure|structures
        thoracic aorta|spine
        soft tissues
    """,
}
QUALITIES = {
    "normal": """
        non enlarged|dilated|widened|prominent
        nonenlarged|nondilated|nonwidened
        normal|unremarkable|normotensive|wnl
        within|in normal? limits|limit of? normal?
        not significantly? enlarged|widened|prominent|dilated
        clear|sharp
        upper|top|high limits|limit? of? normal limits?
    """,
    "intact": """
        intact
    """,
    # Of no place's status, but no sign of anything normal either.
    "unclear": """
        not of? normal
        no prior|previous? normal
        without normal
        not entirely|completely|fully|quite? normal|unremarkable|clear|intact|sharp
    """,
    "big": """
        enlarged|enlargement|enlarging|wide|big|widened|widening|dilated|dilatation|thickened|thickening|engorged|congested|megaly
    """,
    # Of what follows, where a place follows at once: "heart, prominent aorta".
    "more": """
        large|prominent|prominence|increased|increase|coarse*|distended|irregular|chronic
    """,
    "borderline": """
        borderline in? size?
        borderline enlarged|enlargement|prominent
    """,
}
# (Place, quality): each observation's status where nothing denies or doubts it.
SAID = {
    ("heart", "normal"): {"Cardiomegaly": "negative"},
    ("heart", "big"): {"Cardiomegaly": "positive"},
    ("heart", "borderline"): {"Cardiomegaly": "uncertain"},
    ("mediastinum", "normal"): {"Enlarged Cardiomediastinum": "negative"},
    ("mediastinum", "big"): {"Enlarged Cardiomediastinum": "positive"},
    ("mediastinum", "borderline"): {"Enlarged Cardiomediastinum": "uncertain"},
    ("cardiomediastinum", "normal"): {"Enlarged Cardiomediastinum": "negative", "Cardiomegaly": "negative"},
    # Mostly the heart is meant, but it is not said.
    ("cardiomediastinum", "big"): {"Enlarged Cardiomediastinum": "positive", "Cardiomegaly": "uncertain"},
    ("cardiomediastinum", "borderline"): {"Enlarged Cardiomediastinum": "uncertain", "Cardiomegaly": "uncertain"},
    ("lungs", "normal"): {"Lung Opacity": "negative"},
    ("pleura", "normal"): {"Pleural Effusion": "negative"},
    ("pleura", "big"): {"Pleural Other": "positive"},
    ("bones", "intact"): {"Fracture": "negative"},
    ("markings", "normal"): {"Lung Opacity": "negative"},
    ("markings", "big"): {"Lung Opacity": "positive"},
    ("vessels", "big"): {"Edema": "uncertain"},
    ("hila", "big"): {OTHER: "positive"},
}
