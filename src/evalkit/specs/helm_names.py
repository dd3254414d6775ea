"""The names of HELM's run specs, so that one that is not here yet gets an answer that says so."""

from __future__ import annotations

from collections.abc import Collection

from evalkit.errors import UsageError

# As of crfm-helm 0.5.16, by HELM's modules.
_NAMES = """
    air_bench_2024
    arabic_content_generation arabic_finance_bool arabic_finance_calculation arabic_finance_mcq
    arabic_legal_qa arabic_legal_rag
    alghafa alrage arabic_exams arabic_mmlu aratrust madinah_qa mbzuai_human_translated_arabic_mmlu
    air_bench_chat air_bench_foundation ami audio_mnist audio_pairs audiocaps casual_conversations2
    common_voice_15 corebench covost2 fleurs fleurs_fairness iemocap_audio librispeech
    librispeech_fairness meld_audio multilingual_librispeech mustard mutox parade
    speech_robust_bench vocal_sound voice_jailbreak_attacks voxceleb2
    bluex
    bigcodebench gpqa ifeval mmlu_pro omni_math wildbench
    babi_qa bbq big_bench billsum_legal_summarization blimp bold boolq civil_comments code copyright
    covid_dialog custom_mcqa disinformation dyck_language empatheticdialogues entity_data_imputation
    entity_matching eurlexsum_legal_summarization ice imdb interactive_qa_mmlu legal_support
    lex_glue lextreme live_qa lm_entry lsat_qa me_q_sum med_mcqa med_paragraph_simplification
    msmarco multilexsum_legal_summarization news_qa opinions_qa quac raft real_toxicity_prompts
    summarization_cnndm summarization_xsum summarization_xsum_sampled synthetic_efficiency
    synthetic_reasoning synthetic_reasoning_natural thai_exam the_pile truthful_qa twitter_aae
    verifiability_judgment wikifact wikitext_103
    cleva
    codeinsights_code_efficiency codeinsights_correct_code codeinsights_edge_case
    codeinsights_student_coding codeinsights_student_mistake
    decodingtrust_adv_demonstration decodingtrust_adv_robustness decodingtrust_fairness
    decodingtrust_machine_ethics decodingtrust_ood_robustness decodingtrust_privacy
    decodingtrust_stereotype_bias decodingtrust_toxicity_prompts
    enem_challenge
    casehold conv_fin_qa_calc cti_to_mitre echr_judgment_classification financial_phrasebank
    gold_commodity_news kpi_edgar legal_contract_summarization
    legal_opinion_sentiment_classification sumosum
    autobencher_capabilities autobencher_safety ci_mcqa czech_bank_qa ewok medi_qa_without_annotator
    banking77 fin_qa financebench
    healthqa_br
    common_syntactic_processes cub200 daily_dalle demographic_stereotypes detection draw_bench i2p
    landing_page logos magazine_cover mental_disorders mscoco paint_skills parti_prompts radiology
    relational_understanding time_most_significant_historical_figures winoground
    imdb_ptbr
    anthropic_hh_rlhf grammar koala open_assistant self_instruct vicuna
    commonsense gsm legalbench math med_qa mmlu narrative_qa natural_qa wmt_14
    cultural_value_understanding_wvs social_norm_application_normad social_norm_explanation_normad
    deepmind_mrcr_v2 infinite_bench_en_mc infinite_bench_en_qa infinite_bench_en_sum openai_mrcr
    ruler_hotpotqa ruler_squad
    aci_bench chw_care_plan clear dischargeme ehr_sql ehrshot head_qa med_dialog medalign medbullets
    medbullets_freetext medcalc_bench medec medhallu medhelm_configurable_benchmark medhelm_med_mcqa
    medhelm_med_qa medi_qa medication_qa mental_health mimic_bhc mimic_rrs mimiciv_billing_code
    mtsamples_procedures mtsamples_replicate n2c2_ct_matching pubmed_qa race_based_med shc_bmt_med
    shc_cdi_med shc_conf_med shc_ent_med shc_gip_med shc_privacy_med shc_proxy_med shc_ptbm_med
    shc_sei_med shc_sequoia_med starr_patient_instructions
    melt_information_retrieval_mmarco melt_information_retrieval_mrobust melt_knowledge_vimmrc
    melt_knowledge_zalo melt_lm_mask_filling_mlqa melt_lm_spelling_correction_vsec melt_math
    melt_question_answering_mlqa melt_question_answering_xquad melt_sentiment_analysis_vlsp
    melt_sentiment_analysis_vsfc melt_summarization_vietnews melt_summarization_wikilingua
    melt_synthetic_reasoning melt_synthetic_reasoning_natural melt_text_classification_phoatis
    melt_text_classification_vsmec melt_toxicity_detection_victsd melt_toxicity_detection_vihsd
    melt_translation_opus100 melt_translation_phomt
    mmlu_clinical_afr
    exams_multilingual mmmlu
    oab_exams
    anthropic_red_team harm_bench harm_bench_gcg_transfer simple_safety_tests xstest
    flores indicqa indicsentiment indicxnli indonli lindsea_pragmatics_presuppositions
    lindsea_pragmatics_scalar_implicatures lindsea_syntax_minimal_pairs mlhsd nusax
    thaitoxicitytweets tydiqa uitvsfc vihsd wisesight xcopa xnli xquad
    simple1 simple_classification simple_mcqa simple_short_answer_qa
    ultra_suite_asr_classification ultra_suite_asr_transcription ultra_suite_classification
    ultra_suite_classification_breakdown ultra_suite_disorder_symptoms
    bird_sql spider
    tweetsentbr
    unitxt
    a_okvqa bingo blink chart2csv crossmodal_3600 exams_v fair_face flickr30k gqa hateful_memes
    heim_human_eval image2latex image2musicsheet image2webpage math_vista mementos mm_safety_bench
    mm_star mme mmmu mscoco_captioning mscoco_categorization msr_vtt multipanelvqa originality_vlm
    pairs pope real_world_qa seed_bench unicorn vibe_eval viz_wiz vqa vqa_rad
    winogrande_afr
"""
HELM_RUN_SPECS = frozenset(_NAMES.split())

# What is here, and what of the rest asks for something alike; likeness of names would mislead.
_ALIKE = {
    "blimp": "lindsea_syntax_minimal_pairs",
    "boolq": "arabic_finance_bool",
    "code": "bigcodebench codeinsights_correct_code codeinsights_student_coding bird_sql spider",
    "commonsense": "winogrande_afr xcopa ewok",
    "gsm": "fin_qa conv_fin_qa_calc arabic_finance_calculation",
    "ifeval": "wildbench self_instruct vicuna koala",
    "imdb": """imdb_ptbr indicsentiment melt_sentiment_analysis_vlsp melt_sentiment_analysis_vsfc uitvsfc
        wisesight""",
    "legalbench": "casehold lex_glue lextreme legal_support arabic_legal_qa echr_judgment_classification",
    "math": "melt_math omni_math",
    "med_qa": "head_qa healthqa_br med_mcqa medbullets medhelm_med_mcqa medhelm_med_qa pubmed_qa",
    "mmlu": """alghafa arabic_exams arabic_mmlu bluex enem_challenge exams_multilingual interactive_qa_mmlu
        lsat_qa madinah_qa mbzuai_human_translated_arabic_mmlu mmlu_clinical_afr mmmlu oab_exams thai_exam""",
    "narrative_qa": "infinite_bench_en_qa infinite_bench_en_mc",
    "natural_qa": "news_qa quac ruler_squad ruler_hotpotqa tydiqa xquad msmarco",
    "synthetic_reasoning": "melt_synthetic_reasoning",
    "synthetic_reasoning_natural": "melt_synthetic_reasoning_natural",
    "wmt_14": "flores melt_translation_opus100 melt_translation_phomt",
}


class NotPortedError(UsageError):
    """HELM has this run spec, evalkit not yet.

    Args:
        name: HELM's name, with the argument that is not here if only that is not.
        nearest: What is here and near it.
    """

    def __init__(self, name: str, nearest: Collection[str]) -> None:
        hint = f"; the nearest here: {', '.join(nearest)}" if nearest else ""
        super().__init__(f"HELM's run spec '{name}' is not ported yet{hint}")


def refuse_if_helms(name: str, known: Collection[str]) -> None:
    """Refuse a name that is not among `known` if it is that of one of HELM's run specs.

    Raises:
        NotPortedError: It is; says which of `known` are near.
    """
    if name in HELM_RUN_SPECS:
        alike = [here for here, names in _ALIKE.items() if name in names.split() and here in known]
        raise NotPortedError(name, alike)
