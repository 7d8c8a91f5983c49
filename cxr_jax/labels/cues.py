"""The words that affirm, deny or doubt what a sentence names, spelled as `labels.phrases` says."""

# How a cue acts is said in `labels.reader`.
CUES = {
    "deny": """
        no|not|without|nor|neither|never|nil|negative|zero
        non visualization|visualisation|identification of
        nonvisualization|nonvisualisation of
        nothing suspicious|concerning|worrisome for|of?
        neither lung|side|hemithorax|base shows|demonstrates?
        no rib|ribs|bone|bones is|are
        devoid of
        unremarkable for
        lack|lacks|lacking
        no|low suspicion for|of
        nothing|none to? suggest|suggests|suggesting|indicate|indicates|indicating
        nothing that|which suggests|indicates
        nothing in the way of
        can|may|could? exclude|excludes
        has|have|had|did|do|does not seen|see|identified|identify|found|find|noted|note any?
        no longer seen|present|identified is|are?
        w o
        is|are|was|were? negative|neg for
        chest|cxr|radiograph|examination|exam|study|film is|was? negative|neg for
        free of|from
        absence|lack of
        fail|fails|failed|failing|failure to clearly? demonstrate|show|reveal|identify|detect|disclose|see|visualize
        unable to clearly|definitely? see|identify|detect|find|appreciate|discern|visualize|demonstrate
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
        has|have since|now|interval|been? removed
        has|have since|now? been removed|excluded|discontinued
        is|are|was|were now|completely? removed|excluded
        ruled out
        is|are? unlikely
        excluded|undetected
        is|are|was|were lacking|negative
        has|have|had|did|does not developed|develop|occurred|occur|recurred|recur
        is|are|was|were not detectable
        is|are|was|were? nowhere seen?
        is|are? not likely
        can|could not be clearly|definitely? seen|identified|visualized|visualised|detected|found|observed
        can|could not be clearly|definitely? demonstrated|appreciated|discerned|recognized|recognised|shown
        can be excluded
        can be ruled out
        is|are|was|were|has|have|been? not been? clearly? visualised|discerned|recognized|recognised|confirmed
        :no
    """,
    "resolution": """
        complete|interval? resolution of
        due to complete|interval? resolution of
        interval? complete? clearing of
    """,
    "resolved": """
        removed
        resolved|cleared|gone
        has|have|is|are|was|were now|since? been|interval? completely|entirely|fully? resolved|cleared|gone
        resolves|resolve|clears
    """,
    # To see it gone is wanted: it is there.
    "advice": """
        failure of
        to be? show|prove|see|sure|certain|demonstrate
        make|making sure
        ensure|ensuring|document|documenting|confirm|verify|establish|until|till|pending|monitor
        to|for|toward|towards|until|till|through|after complete|full|interval|radiographic? resolution|clearing of?
        assess|evaluate|check|monitor|look for? complete|full|interval|radiographic? resolution|clearing of?
    """,
    "doubt": """
        doubt
        less|not favored|favoured
        low|small|remote probability|likelihood|chance|possibility of
        uncertain|indeterminate for?
        unclear|uncertain|unsure|undetermined whether|if there|this|it? is|are|represents?
        not sure|certain|clear whether|if|that there|this|it? is|are?
        hard|difficult to say|tell whether|if there|this|it? is|are?
        whether there|this|it? is|are?
        doubtful|questionable|possible|likely|conceivable that|if|whether there|this|it? is|are?
        can|could not be? sure|certain ~ no
        can|could not confirm
        can|could not totally|confidently|reliably exclude
        can|could not r o
        not specific for
        ddx|dd|differential includes?
        thought|felt|believed to represent|be|reflect
        correlate|correlation clinically|clinical? for
        possible|possibly|possibility|suspicion|probable|probably|questionable|questionably|likely|equivocal|perhaps
        presumed|presumably|presumptive|doubtful|dubious|improbable|conceivable|conceivably|potential|potentially
        unable|impossible to entirely|completely|definitively|definitely|fully? exclude
        unable|impossible to entirely|completely|definitively|definitely|fully? rule out
        question|questioned of?
        not|difficult to? entirely|completely|definitively|definitely|fully? exclude
        can|could not entirely|completely|definitively|definitely|fully? exclude
        not entirely|completely|definitively|definitely? rule out
        can|could not entirely|completely|definitively|definitely? rule out
        to exclude
        to rule out
        less|least likely
        suspected
        query
        :doubt
    """,
    "doubt below": """
        favor|favors|favored|favoring|favour|favours|favoured
        may|might|could|maybe|suspect*|suspicious|suggest*|concern*|worrisome|consider*|differential|either
    """,
    "doubt before": """
        is|are|remains less|not favored|favoured
        is|are favored|favoured
        is? of concern
        until proven otherwise
        would|could|may be a? differential? possibility|consideration
        remains|is|are in question
        to be considered
        can|could not entirely|completely|definitively|definitely|fully|totally be excluded|dismissed
        can|could not with certainty? be dismissed|excluded
        :maybe
        not be? entirely|completely|definitively|definitely|fully? excluded
        not be? entirely|completely|definitively|definitely|fully? ruled out
        can|could not be entirely|completely|definitively|definitely|fully? excluded
        can|could not be entirely|completely|definitively|definitely|fully? ruled out
        is|are|remains also|also? possible|suspected|questioned|questionable|likely|probable|considered
        is|are|seems|seem|appears|appear|remains|felt|thought|considered to? be? much|far? less|least likely
        is|are|seems|seem|appears|appear|remains|felt|thought|considered to? be? very|highly? improbable|doubtful
        is|are|seems|seem|appears|appear|remains|felt|thought|considered to? be? equivocal|uncertain|dubious
        should|must|needs|has|have also|to|still? be also? considered|excluded|suspected|entertained|questioned
        should|must|needs|has|have also|to|still? be also? ruled out
        could|can|may|might also|still? be also? considered|suspected|entertained|questioned
        is|are|remains a|one|another? distinct|less|likely? consideration|possibility|concern
        is|remains|are in|on|within the differential
        is|are to be considered|excluded
        in the appropriate|right|proper clinical setting|context
        not be|been? confidently|reliably|safely|readily excluded
        not be|been? confirmed or|nor excluded
        can|could not be confirmed
        has|have|was|were not been? entirely|completely|definitively? excluded
        has|have|was|were not been? entirely|completely|definitively? ruled out
        :doubted
        is|are|would|may be? difficult|hard|impossible to completely|entirely? exclude
        is|are|would|may be? difficult|hard|impossible to completely|entirely? rule out
        may|might|could be present
        may|might|could be considered
    """,
    "doubt both": """
        is|are? favored|favoured over
        is|are? thought|felt|believed? to? be? less|more likely than
        versus|vs|v
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
    # The image cannot say.
    "forget before": """
        can|could not be adequately|reliably|accurately|well|further|properly? assessed|evaluated|determined
        can|could not be adequately|reliably|accurately|well|further|properly? measured|judged|estimated
        is|are|was|were difficult|hard|impossible to assess|evaluate|determine|judge
        is|are|was|were not assessable|evaluable
        not assessed|assessable|evaluable
    """,
    "stop": """
        in spite of
        only|just|merely|simply
        this|it|these is|are|represents|represent
        besides
        save for
        but|however|although|though|except|yet|despite|whereas|while|with
        aside|apart from
        other than
        there is|are|has|have|was|were|again
    """,
    "unchanged": """
        not only
        without|no doubt|question
        no ~ resolution|progression|clearing|reduction|regression|displacement|migration|extension|spread of|in|from
        no complication|complications of|from|after|following
        no|not much|great|real|sig|significant? change|chg in?
        has|have|had? since|now|interval? resolved|cleared almost|nearly|virtually|practically completely|fully?
        is|are|was|were since|now? resolved|cleared almost|nearly|virtually|practically completely|entirely|fully?
        virtually|practically|subtotally|partly resolved|cleared|gone
        just|all about|but resolved|cleared|gone
        close to completely|entirely|fully? resolved|cleared|gone
        ongoing|continued|continuing|some|delayed|significant|slow|gradual|further resolution|clearing of?
        has|have|had|is|are|was|were? since|now|interval? resolved|cleared|resolution|clearing somewhat|partially
        has|have|had? since|now|interval? resolved|cleared|resolution except|save for? a? minimal|small|tiny|trace?
        is|are|was|were since|now? resolved|cleared|resolution except|save for? a? minimal|small|tiny|trace?
        has|have|had? since|now|interval? resolved|cleared|resolution with a? minimal|small|tiny|trace residual?
        is|are|was|were since|now? resolved|cleared|resolution with a? minimal|small|tiny|trace|some residual|remnant?
        has|have|had|is|are|was|were? since|now|interval? resolved|cleared to a|some large|great|certain? extent|degree
        has|have|had|is|are|was|were? since|now|interval? resolved|cleared for the most part
        interval|complete? resolution|clearing of most|some|part|much of
        non|not resolving
        fail|fails|failed to completely? resolve|clear
        has|have|did|does not yet? resolve|resolved|clear|cleared
        no|without definite|significant|interval|appreciable|substantial? interval? change|changes in|of|from?
        no|without definite|significant|interval|appreciable|substantial? increase|decrease|progression in|of|from?
        no|without definite|significant|interval|appreciable|substantial? improvement|worsening in|of?
        not significantly|appreciably|substantially|markedly|much? changed|improved|worsened|progressed
        not significantly|appreciably|substantially|markedly|much? increased|decreased
        is|are|was|were? not present|seen|identified|visualized|noted on|in the? prior|previous|comparison|last|xxxx
        not only
        not been? any|significant|definite|interval? change|changes|increase|decrease in|of?
        no more|less than
        not|without been? completely|entirely|fully|complete|significant|yet? resolved|resolution|cleared|clearing
        incomplete|incompletely|near|nearly|almost|partial|partially complete|completely? resolution|clearing of?
        nearly|almost|partly|partially|incompletely completely|entirely? resolved|cleared|gone
        mostly|largely|substantially completely? resolved|cleared|gone
        has|have|had? since|now|interval? resolved|cleared nearly|almost|partly|partially|incompletely|mostly|largely
        is|are|was|were since|now? resolved|cleared nearly|almost|partly|partially|incompletely|mostly|largely
        has|have|had|is|are|was|were? since|now|interval? resolved|cleared in part
        for the most part resolved|cleared|gone
        no doubt
        not well|optimally|completely|entirely|fully seen|visualized|evaluated|included|imaged
        no prior*|comparison*
        without comparison|prior*
        not necessarily
    """,
    "keep": """
        none on|at|in|over the? left|right
        left|right and|but no left|right
        suggest|suggested|consider short|interval|clinical|radiographic|repeat|close? follow|followup|ct|imaging
        suggest|suggested|consider repeat? radiograph*
        consistent|compatible with
        in keeping with
        associated with
        compared|comparison with|to
    """,
    # Begins anew after a denied finding, unless "or" stands before it: "no effusion, stable cardiomegaly".
    "affirm": """
        stable|persistent|residual|mild|moderate|minimal|chronic|unchanged|mildly|moderately|again
        and a|an
        positive for
        after|following|post|status|associated|superimposed on|with|post?
        secondary|due|adjacent|related to
        because of
        s p
    """,
    # What follows "and" and has a verb of its own is there: "no effusion and atelectasis is present".
    "is there": """
        is again|also|now? present|noted
    """,
    "yes": """
        :yes
    """,
    "affirm before": """
        small|tiny|trace|minimal|mild|moderate|large|massive on|at|in|over the? left|right
        except|apart|aside|besides|save for|from? a|an? small|tiny|trace|minimal|mild|moderate|large on|at|in
        except|apart|aside|besides|save for|from? a|an? small|tiny|trace|minimal|mild|moderate ~ one|component
        persists|persist
        is|are|remains unchanged
        has|have increased|decreased|worsened|improved
    """,
}
# Adjectives that may stand behind what they doubt: "effusion doubtful".
DOUBTS = "likely possible probable suspected questionable doubtful improbable dubious equivocal"
# What begins so after a denied finding is there: "no pneumothorax small effusion"; or so, after a comma or "and".
QUANTITIES = "small tiny trace"
DESCRIPTIONS = """
    large sizable massive huge severe marked slight subtle faint dense extensive diffuse patchy scattered multiple
    linear streaky subsegmental new increasing worsening old healed known existing increased persisting enlarging
    worsened
    left right bilateral bibasilar basilar biapical apical lll lul rll rml rul
"""
