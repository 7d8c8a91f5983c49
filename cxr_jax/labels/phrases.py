"""The words by which reports name CheXpert's observations, and those that deny, doubt or place them.

A phrase is words with blanks between: `a|b` is either word, `c*` any word that starts so, `d?` a word that may be left
out, `~` up to five words of any kind. Hyphens and slashes count as blanks; other punctuation is not seen at all.
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
        lobar|lung|lobe|pulmonary collapse
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
        pericardial|joint|knee effusion*
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
        mediastinal lymph*|node*|adenopathy|calcification*|shift|granuloma*|lipomatosis|fat|surgical|clips|surgery|drain
        calcified mediastinal
        hilar mediastinal? lymph*|adenopathy|node*
        mediastinal and|or right|left? hilar lymph*|adenopathy|calcification*|granuloma*|node*
        aortic valve calcification*
        mitral|aortic valve|annul* calcification*
        calcified aortic|mitral valve
        port|portable film|radiograph|chest|examination
        scar* of the? skin
        degenerative plate
        end plate|plates
        endplate*
        dextroscoliosis|levoscoliosis
        deviation of the? trachea
        airspace
        heart transplant*
        eventration
    """,
}

# A finding that is none of the fourteen, and still keeps a report from "No Finding", as in CheXpert's labeller.
OTHER_FINDINGS = """
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
    pneumoperitoneum|pneumomediastinum
    adenopathy|lymphadenopathy
    degenerative|osteophyt*|spondylosis|osteopenia|osteopenic|osteoporosis
    atheroscl*|tortuous|tortuosity|ectasia|ectatic|aneurysm*
    deformity|deformities
    pleural abnormality
    lytic|blastic|sclerotic|destructive lesion*
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
    "vessels": """
        central? pulmonary|lung? vasculature|vascularity
        pulmonary vessels|veins|vascular
    """,
    "": """
        aorta|aortic|hila|hilum|hilar|trachea|diaphragm*|hemidiaphragm*|spine|vertebra*|azygos|esophagus|stomach
        aortic arch|knob
        pulmonary|vascular artery|arteries|structure|structures
        thoracic aorta|spine
        soft tissues
    """,
}
QUALITIES = {
    "normal": """
        normal|unremarkable|normotensive|wnl
        within|in normal? limits|limit of? normal?
        not significantly? enlarged|widened|prominent|dilated
        clear|sharp
        upper|top|high limits|limit? of? normal limits?
    """,
    "intact": """
        intact
    """,
    "big": """
        enlarged|enlargement|enlarging|widened|widening|dilated|dilatation|thickened|thickening|engorged|congested|megaly
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
}

# How a cue acts is said in `labels._read`.
CUES = {
    "deny": """
        no|not|without|nor|neither|non|never
        w o
        negative for
        free of|from
        absence|lack of
        complete|interval? resolution of
        interval? complete? clearing of
        interval removal of
        removal|extraction of
        rather than
        no longer
        unlikely to? represent|be|reflect
    """,
    "clear of": """
        clear of
    """,
    "deny before": """
        is|are|was|were|has|have? not|never been? clearly|definitely|definitively|currently? seen|identified|visualized
        is|are|was|were|has|have? not|never been? clearly|definitely|definitively|currently? evident|present
        is|are|was|were|has|have? not|never been? clearly|definitely|definitively|currently? appreciated|demonstrated
        is|are|was|were|has|have? not|never been? clearly|definitely|definitively|currently? detected|noted
        is|are|was|were|has|have? not|never been? clearly|definitely? visible|observed|apparent|shown|found
        is|are|was|were|has|have? not|never been? clearly|definitely? suspected|suggested
        is|are|was|were? no longer clearly|definitely? seen|identified|visualized|evident|present|appreciated|visible
        absent|none
        has|have now|since|completely|been|interval? resolved|cleared|removed
        has|have since|now? been removed|excluded|discontinued
        is|are|was|were now|completely? resolved|removed|excluded
        ruled out
        is|are? unlikely
    """,
    "resolved": """
        resolved|removed
    """,
    "doubt": """
        correlate|correlation clinically|clinical? for
        possible|possibly|possibility|suspicion|probable|probably|questionable|questionably|likely|equivocal|perhaps|presumed|presumably
        question|questioned of?
        cannot|not|cant|difficult to? entirely|completely|definitively|definitely|fully? exclude
        can|could not entirely|completely|definitively|definitely|fully? exclude
        cannot|not|cant entirely|completely|definitively|definitely? rule out
        can|could not entirely|completely|definitively|definitely? rule out
        to exclude
        to rule out
        less likely
        suspected
    """,
    "doubt below": """
        may|might|could|maybe|suspect*|suspicious|suggest*|concern*|worrisome|consider*|differential|either
    """,
    "doubt before": """
        cannot|not|cant be? entirely|completely|definitively|definitely|fully? excluded
        cannot|not|cant be? entirely|completely|definitively|definitely|fully? ruled out
        can|could not be entirely|completely|definitively|definitely|fully? excluded
        can|could not be entirely|completely|definitively|definitely|fully? ruled out
        is|are|remains also|also? possible|suspected|questioned|questionable|likely|probable|considered
        is|are|would|may be? difficult|hard|impossible to completely|entirely? exclude
        is|are|would|may be? difficult|hard|impossible to completely|entirely? rule out
        may|might|could be present
        may|might|could be considered
    """,
    "doubt both": """
        versus|vs
        or
    """,
    "forget": """
        history of
        hx of
        past history of
        h o
        evaluate|evaluation|assess|assessment|eval for
        r o
        rule out
        if ~ concern|suspicion|suspected|tenderness for|of?
        risk of|for
    """,
    "stop": """
        but|however|although|though|except|yet|despite|whereas|while|with
        aside|apart from
        other than
        there is|are|has|have|was|were|again
    """,
    "unchanged": """
        no|without definite|significant|interval|appreciable|substantial? interval? change|changes in|of|from?
        no|without definite|significant|interval|appreciable|substantial? increase|decrease|progression in|of|from?
        no|without definite|significant|interval|appreciable|substantial? improvement|worsening in|of?
        not significantly|appreciably|substantially|markedly|much? changed|improved|worsened|progressed
        not significantly|appreciably|substantially|markedly|much? increased|decreased
        is|are|was|were? not present|seen|identified|visualized|noted on|in the? prior|previous|comparison|last|xxxx
        not only
        no more|less than
        not|without completely|entirely|fully|complete|significant resolved|resolution|cleared|clearing
        not yet resolved|cleared
        incomplete|near|partial complete? resolution|clearing of?
        no doubt
        not well|optimally|completely|entirely|fully seen|visualized|evaluated|included|imaged
        no prior*|comparison*
        without comparison|prior*
        not necessarily
    """,
    "keep": """
        consistent|compatible with
        in keeping with
        associated with
        compared|comparison with|to
    """,
    # Begins anew after a denied finding, unless "or" stands before it: "no effusion, stable cardiomegaly".
    "affirm": """
        stable|persistent|residual|mild|moderate|minimal|chronic|unchanged|mildly|moderately|again
        and a|an
    """,
    "affirm before": """
        persists|persist
        is|are|remains unchanged
        has|have increased|decreased|worsened|improved
    """,
}
