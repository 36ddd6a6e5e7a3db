"""The phrases by which prompts name a model, per language."""

from __future__ import annotations

import re
from dataclasses import dataclass

_DIGITS = r"\d(?:\.?[A-Za-z0-9]){0,9}+"
_TIER = (
    r"(?:[ -](?i:opus|sonnet|haiku|instant|code|pro|flash|ultra|nano|mini|turbo|large|medium|small|chat|max"
    rf"|r1|instruct|v?{_DIGITS})(?![A-Za-z])){{0,4}}+"
)
_OF_IT = (
    "users?|customers?|subscribers?|developers?|fans?|experts?|prox(?:y|ies)|clones?|wrappers?|plugins?|clients?"
    "|based|powered|compatible|alternatives?|competitors?|api"
)
_ITSELF = rf"(?![\w-]|[ -](?i:{_OF_IT})\b|[ -]?\?|'s\b| oder\b)"
"""After a name: the text means the model itself, not something that belongs to it, and is no question."""
_MODEL = (
    r"(?:Gemini|GEMINI|Llama|LLaMA|Mistral|Grok|Gemma|Copilot|GPT(?=[,.:]|\s*$)"
    rf"|(?i:chat-?gpt|gpt-?{_DIGITS}|deepseek|qwen|mixtral|claude-\d)){_TIER}"
)
_TRADE = (
    "years?[- ]old|chef|cook|painter|waiter|baker|detective|student|customer|patient|father|mother|brother"
    "|sister|boy|girl|man|woman|king|guide|butler"
)
_SOMEBODY = rf" [A-Z][a-z\u00e0-\u00ff]| (?:from|de|van|von)\b|,[^.!?\n]{{0,60}}\b(?i:{_TRADE})\b"
_CLAUDE = rf"(?:Claude|CLAUDE|claude(?=[,.!;:]| an?\b|\s*$)){_TIER}(?!{_SOMEBODY})"
"""Claude is also a first name: a surname or a trade after it means a person."""
_MAKER = r"(?:OpenAI|Anthropic|Google(?: DeepMind)?|Meta AI|Mistral(?: AI)?|xAI|DeepSeek|Alibaba|Cohere)"
_NAME = rf"(?:{_MAKER}(?:'s)? )?(?:{_MODEL}|{_CLAUDE}){_ITSELF}"
_KIND = (
    rf"(?:GPT|Claude|{_MODEL}|{_MAKER})(?:[ -]based)?[ -](?:(?:large|AI|language|chat) ){{0,3}}"
    r"(?:model|assistant|AI|chatbot|LLM)\b"
)

_WORD = r"(?<![\w-])(?<!\w')"
_CLAUSE = r"(?:^|[.!?:;,\n\"'`>*#(\[|\u2022]|(?<=\s)-)[ \t]{0,3}"
"""The start of a sentence, a clause, a quotation or an item of a list."""
_ORDER = rf"(?:{_CLAUSE}|\b(?i:must|should|will|please|always|now|then|and|to|shall|only|just)[ ])"
"""What may come before an order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """A wording as regular expressions, which ignore case except in the name.

    Attributes:
        lead, name, rest: the words, in this order.
        start, then: what must come before and after them.
        better: what to write instead; `{lead}` stands for the lead in the text.
    """

    lead: str = ""
    name: str = ""
    rest: str = ""
    start: str = _WORD
    then: str = ""
    better: str

    def pattern(self) -> re.Pattern[str]:
        """The whole expression; the group `words` is reported, and `lead` is its first part."""
        words = f"(?P<lead>(?i:{self.lead})){self.name}(?i:{self.rest})"
        return re.compile(f"{self.start}(?P<words>{words})(?=(?i:{self.then}))", re.MULTILINE)


def _persona(
    *, you_are: str, answer_as: str, as_: str, you: str, kind: str, better: tuple[str, str]
) -> tuple[Phrase, ...]:
    """The phrases of one language that give a model an identity.

    Args:
        kind: "GPT model" and similar terms.
        better: what to write after "you are", and instead of "as Claude".
    """
    named = rf"(?:{_NAME}|{kind})"
    assistant, as_assistant = better
    return (
        Phrase(lead=f"(?:{you_are}) ", name=named, better=f"{{lead}}{assistant}"),
        Phrase(start=_ORDER, lead=f"(?:{answer_as}) ", name=named, better=f"{{lead}}{assistant}"),
        Phrase(start=_CLAUSE, lead=f"{as_} ", name=named, then=rf",? (?:{you})\b", better=as_assistant),
    )


_GERMAN_KIND = r"(?:ein )?(?:GPT|Claude|OpenAI|Gemini)-(?:Sprachm|M)odell"
_CHINESE_NAME = rf"(?:{_MODEL}|{_CLAUDE})(?![A-Za-z0-9_]|\s?[?吗]|吧|么|多少|的|还是|用户|相比|一样|之|和|与)"
PERSONAS = (
    *_persona(
        you_are="you(?: are|'re| will be| are now)|pretend to be|imagine you are",
        answer_as="(?:act|behave|answer|respond|reply|speak|write|operate|role-?play|introduce yourself"
        "|identify yourself)(?: always| only)? (?:as|like)",
        as_="as",
        you="you|your|you're|I|my|please|do|don't|never|always|answer|respond|reply|write|use|explain|be|give|help",
        kind=f"an? {_KIND}",
        better=("an AI assistant", "As an AI assistant"),
    ),
    Phrase(start=_CLAUSE, lead="(?:the )?assistant is ", name=_NAME, better="{lead}helpful"),
    Phrase(lead="your name is ", name=_NAME, better="{lead}that of your product"),
    Phrase(lead=r"you(?: are|'re) an? (?:\w{1,20},? ){1,3}", name=_KIND, better="{lead}assistant"),
    Phrase(
        lead=r"you(?: are|'re) [^.!?\n]{1,60}? (?:named|called) ",
        name=_NAME,
        better="{lead}as your product is",
    ),
    Phrase(
        lead="i(?:'m| am) ",
        name=_NAME,
        then=r", (?:an?|your) (?:AI|large|helpful|language)\b",
        better="{lead}your assistant",
    ),
    *_persona(
        you_are="du bist|sie sind|sei",
        answer_as="(?:antworte|antworten sie|handle|agiere|verhalte dich|schreibe?|sprich)"
        "(?: immer| stets)? (?:als|wie)",
        as_="als",
        you="du|dein|sollst|solltest|musst|darfst|kannst|hast|wirst|bist|antworte|beantworte|hilf|sie",
        kind=_GERMAN_KIND,
        better=("ein KI-Assistent", "Als KI-Assistent"),
    ),
    *_persona(
        you_are="tu es|vous êtes",
        answer_as="(?:agis|agissez|réponds|répondez|comporte-toi) (?:en tant que|comme)",
        as_="en tant que",
        you="tu|ton|tes|vous|votre|vos|réponds|répondez|aide|aidez|ne",
        kind="(?:un )?modèle (?:GPT|Claude|OpenAI)",
        better=("un assistant IA", "En tant qu'assistant IA"),
    ),
    *_persona(
        you_are="(?<!\u00bf)(?:eres|usted es)",
        answer_as="(?:actúa|actúe|responde|responda|compórtate) como",
        as_="como",
        you="tú|tu|tus|usted|debes|eres|puedes|tienes|responde|ayuda|no",
        kind="(?:un )?modelo (?:GPT|Claude|OpenAI)",
        better=("un asistente de IA", "Como asistente de IA"),
    ),
    Phrase(
        start="",
        lead="(?:你是|您是|你叫|扮演)(?:一个|一名)? ?",
        name=_CHINESE_NAME,
        better="{lead}一个AI助手",
    ),
    Phrase(start="", lead="作为 ?", name=_CHINESE_NAME, then=",? ?(?:你|您|请|回答)", better="{lead}AI助手"),
)

_REQUEST = (
    r"(?:please|you|your|can|could|would|will|do|don't|never|always|answer|write|explain|summari[sz]e|act|help|tell"
    r"|give|list|think|read|translate|review|follow|bitte|du|s'il|por favor)\b"
)
_NO_NAME = "the request itself, without a name"
ADDRESSES = (
    Phrase(
        start=_CLAUSE,
        lead="(?:(?:hey|hi|hello|ok|okay|please|thanks|hallo|salut|hola),? )?",
        name=rf"\b{_MODEL}",
        rest="[,!]",
        then=f" {_REQUEST}",
        better=_NO_NAME,
    ),
    Phrase(
        start=_CLAUSE,
        lead="(?:(?:hey|ok|okay|please),? )?",
        name=rf"\bClaude{_TIER}",
        rest=",",
        then=f" {_REQUEST}",
        better=_NO_NAME,
    ),
    Phrase(
        start=_CLAUSE,
        lead="(?:hey|hi|hello|dear|ok|okay),? ",
        name=_MODEL,
        rest="[,.!]",
        then=r"\s+\w",
        better=_NO_NAME,
    ),
    Phrase(start=_CLAUSE, lead="hey,? ", name="Claude", rest="[,.!-]", then=r"\s*\w", better=_NO_NAME),
    Phrase(start="", lead="(?:请|你好),? ?", name=_MODEL, rest=",", better=_NO_NAME),
)

_MADE = "(?:trained|developed|created|made|built|designed) by "
_POLICIES = (
    r"(?:(?:usage|content|safety|use|own|ethical) ){0,2}"
    r"(?:guidelines?|polic(?:y|ies)|rules|principles|constitution|values)\b"
)
_RULES_OUT = "the rules themselves, written out"
_NO_MAKER = "nothing: the maker changes with the model"
VENDORS = (
    Phrase(
        start=_ORDER,
        lead="(?:follow|obey|respect|observe|comply with|adhere to|stick to|abide by|apply"
        "|(?:never|do not|don't) violate) (?:all |the )?(?:of )?",
        name=_MAKER,
        rest=f"(?:'s?)? {_POLICIES}",
        better=_RULES_OUT,
    ),
    Phrase(
        lead="your ",
        name=_MAKER,
        rest=f"(?:'s)? (?:tools|training|instructions|{_POLICIES})",
        better="'your tools', 'your instructions', without the maker",
    ),
    Phrase(
        lead=r"you(?: are|'re) (?:an?|the) "
        r"(?:(?!of\b|for\b|on\b|about\b|who\b|with\b|that\b)\w{1,20}[ -]){0,4}"
        rf"(?:assistant|model|AI|chatbot|LLM),? (?:(?:that|which) (?:was|is) )?{_MADE}",
        name=_MAKER,
        better=_NO_MAKER,
    ),
    Phrase(
        start=_CLAUSE,
        lead=f"assistant is an? (?:large )?(?:language|AI) model,? {_MADE}",
        name=_MAKER,
        better=_NO_MAKER,
    ),
    Phrase(lead=f"you (?:were|have been) {_MADE}", name=_MAKER, better=_NO_MAKER),
    Phrase(
        start=_CLAUSE,
        lead=rf"as an? (?:\w{{1,20}} ){{1,4}}{_MADE}",
        name=_MAKER,
        then=r",? (?:you|your|I|my)\b",
        better=_NO_MAKER,
    ),
    Phrase(
        lead=r"(?:du bist|du wurdest|sie sind|sie wurden) [^.!?\n]{0,60}?von ",
        name=_MAKER,
        rest=" (?:entwickelt|trainiert|erstellt|gebaut)",
        better=_NO_MAKER,
    ),
    Phrase(
        lead=r"(?:tu es|vous êtes|tu as été|vous avez été) [^.!?\n]{0,60}?"
        "(?:développé|entraîné|créé|conçu)e? par ",
        name=_MAKER,
        better=_NO_MAKER,
    ),
    Phrase(
        lead=r"(?:eres|fuiste|usted es) [^.!?\n]{0,60}?(?:desarrollad|entrenad|cread)[oa] por ",
        name=_MAKER,
        better=_NO_MAKER,
    ),
    Phrase(
        start="",
        lead=r"[你您]是[^.!?\n]{0,30}?由 ?",
        name=_MAKER,
        rest=" ?(?:公司)?(?:训练|开发|创建|研发)",
        better=_NO_MAKER,
    ),
    Phrase(
        lead=r"(?:befolge|beachte|halte dich an) (?:alle |die ){0,2}(?:\w{0,20}richtlinien|regeln) von ",
        name=_MAKER,
        better=_RULES_OUT,
    ),
    Phrase(
        lead="(?:respectez?|suis|suivez) (?:toutes )?les (?:directives|règles|politiques) (?:d'|de )",
        name=_MAKER,
        better=_RULES_OUT,
    ),
    Phrase(
        lead="(?:sigue|siga|respeta|cumple) las (?:directrices|políticas|normas|reglas) de ",
        name=_MAKER,
        better=_RULES_OUT,
    ),
    Phrase(
        start="",
        lead="(?:遵守|遵循) ?",
        name=_MAKER,
        rest=r" ?的\w{0,6}?(?:政策|准则|规定|指南|原则)",
        better=_RULES_OUT,
    ),
)

_STEP_BY_STEP = "'think step by step'; how hard a model thinks is a parameter of the model in pointsman.yaml"
_TOOL = "a tool that the request itself brings along"
FEATURES = (
    Phrase(
        lead=r"your extended[ -]thinking(?: mode)?(?! (?:budget|tokens|settings?|config))",
        better=_STEP_BY_STEP,
    ),
    Phrase(
        lead=r"think\b[^.!?\n]{0,40}? (?:using|with|in) extended[ -]thinking(?: mode)?", better=_STEP_BY_STEP
    ),
    Phrase(
        start=_CLAUSE,
        lead="ultrathink",
        then=r"[.!:]|, |\s*$|\** (?:about|before|and|on|through|hard|to)\b",
        better=_STEP_BY_STEP,
    ),
    Phrase(start=r"(?:^|(?<=\s))", lead="/(?:no_)?think", then=r"[ \t]*$", better=_STEP_BY_STEP),
    Phrase(start="", lead=r"</?ant(?:Thinking|Artifact)\b", better="a mark that the prompt itself explains"),
    Phrase(
        lead=r"your (?:code interpreter|DALL[\u00b7-]?E(?: ?\d)?|advanced data analysis|canvas tool"
        r"|artifacts (?:feature|panel|tool))",
        better=_TOOL,
    ),
    Phrase(
        start=_ORDER,
        lead=r"(?:use|call) DALL[\u00b7-]?E(?: ?\d)?",
        then=r" to (?:draw|create|generate|make|produce)\b",
        better=_TOOL,
    ),
)
"""Features that only some models have."""

_WHAT_IT_KNOWS = "what the prompt itself knows, such as today's date"
FACTS = (
    Phrase(
        lead=r"your (?:knowledge|training)(?: data)? cut-?off(?: date)? (?:is|was)\b", better=_WHAT_IT_KNOWS
    ),
    Phrase(lead=r"your training data (?:ends|ended|stops|stopped|goes up to)\b", better=_WHAT_IT_KNOWS),
    Phrase(
        lead=r"your context window (?:is|has|holds)\b|you have an? [\d,.]{1,12} ?k?[ -]tokens? context",
        better="a limit of the prompt's own, in words or items",
    ),
)
"""Figures that differ between models."""

TOKENS = (
    Phrase(
        start="",
        lead=r"<\|(?:im_start|im_end|im_sep|endoftext|begin_of_text|end_of_text|start_header_id|end_header_id|eot_id"
        r"|eom_id|endofprompt|system|user|assistant|channel)\|>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>"
        r"|<\|(?:begin|end)\u2581of\u2581sentence\|>",
        better="messages with roles: each provider puts its own marks around them",
    ),
)
"""Marks of one model's chat template; a full-width bar counts as a plain one."""
