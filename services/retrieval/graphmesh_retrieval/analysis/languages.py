"""Languages: their function words, and which language a text is in.

The function words of a language serve two purposes: a text is in the language whose function words it has the most of,
and a query loses them, since they distinguish no passages. The lists are short on purpose: a content word on them would
be lost in queries.
"""

import re
from collections import Counter
from collections.abc import Container, Mapping
from typing import Final

MAX_DETECTION_CHARACTERS: Final = 4_000
"""Characters at the beginning of a text that decide about its language."""
MIN_FUNCTION_WORDS: Final = 2
"""Function words by which a language of the Latin script is detected at least."""

_ENGLISH = """
    a about after again all also am an and any anyone anything are arent as at be because been before being both but by
    can cannot cant could couldnt did didnt do does doesnt doing dont down each else etc every few for from further get
    gets getting got had hadnt has hasnt have havent having he hed hell help her here heres hers herself hes hey hi
    hello him himself his how hows i id if ill im in into is isnt it itd itll its itself ive just know let lets like me
    may maybe might more most much must my myself need needed needs no nor not now of off oh ok okay on once one only
    or other our ours ourselves out over own please pls question quite really same shall she shed shes should shouldnt
    so some someone something such tell thank thanks than that thats the their theirs them themselves then there theres
    these they theyd theyll theyre theyve thing things this those though through to too under until up us very want
    wanted wants was wasnt way we wed well were werent weve what whats when whens where wheres whether which while who
    whom whos why whys will with wonder wondering wont would wouldnt yes yet you youd youll your youre yours yourself
    yourselves youve
"""
_LATIN: Final[Mapping[str, str]] = {
    "en": _ENGLISH,
    "de": """
        aber als am an auch auf aus bei beim bin bis bist da damit dann das dass dein deine dem den denn der des
        die dies diese dieser dieses doch du durch ein eine einem einen einer eines er es für gegen hat habe
        haben hatte hier ich ihr ihre im in ist ja kann kein keine können man mein meine mich mir mit muss nach
        nicht noch nur ob oder ohne schon sein seine sich sie sind so soll über um und uns unser unter vom von
        vor war warum was wenn werden wer wie wieder wird wo wurde zu zum zur
    """,
    "fr": """
        à afin ai au aux avec avez avoir ce ces cet cette ceux ci comme comment dans de des donc dont du elle
        elles en est et été être eu il ils j je l la le les leur leurs lui ma mais me même mes moi mon n ne nos
        notre nous on ont ou où par pas peut plus pour pourquoi puis qu quand que quel quelle quelles quels qui
        quoi s sa sans se ses si son sont sur ta te tes toi ton tu un une vos votre vous y
    """,
    "es": """
        a al algo ante antes como cómo con contra cual cuál cuando cuándo cuánto de del desde donde dónde e el
        él ella ellas ellos en entre era es esa ese eso esta está estas este esto estos fue ha hay la las le les
        lo los más me mi mis muy nada ni no nos nosotros o para pero por porque puede puedo que qué quien quién
        se ser si sí sin sobre son su sus también tiene todo tu tus un una unos y ya yo
    """,
    "it": """
        a ad al alla alle anche ancora avere che chi ci come con cosa cui da dal dalla dei del della delle di
        dopo dove e è ed era gli ha hanno ho i il in io l la le lei li lo loro lui ma mi mia mio ne nei nel
        nella no noi non o ogni per perché più può quale quando quanto quello questa questo qui se sei si sia
        sono su sua sul sulla suo tra tu un una uno vi voi
    """,
    "pt": """
        à ao aos as até às com como da das de dela dele depois do dos e é ela ele eles em entre era essa esse
        esta está este eu foi há isso isto já lhe mais mas me mesmo meu minha muito na não nas nem no nos nós o
        os ou para pela pelo por porque posso qual quando que quem são se sem ser seu seus só sua suas também te
        tem ter um uma você
    """,
    "nl": """
        aan al als bij dan dat de deze die dit doe door een en er geen had hebben heb heeft het hier hij hoe hun
        ik in is je kan kunnen maar me meer met mij mijn moet na naar niet nog nu of om omdat ons ook op over te
        tegen toch toen tot u uit uw van veel voor waar waarom wanneer wat we wel werd wie wij wordt zal ze zich
        zij zijn zo zonder zou
    """,
    "sv": """
        alla att av blir bli de dem den denna det detta dig din du där efter ej eller en ett från för ha han har
        hon hur i inte jag kan kommer man med men mig min mot mycket när någon och om på sin ska som så till
        under upp ut vad var varför vi vid vilken är åt över
    """,
    "da": """
        af alle at blev bliver da de dem den denne der deres det dette dig din dog du efter ej eller en er et
        for fra han har hun hvad hvem hvis hvor hvordan hvorfor hvornår i ikke ind jeg kan man med meget men mig
        min mod når noget nogle nu og også om op os over på skal som så til ud under var ved vi vil være
    """,
    "no": """
        alle at av ble bli da de dem den denne der dere det dette deg din du eller en er et etter for fra ha han
        har hun hva hvem hvis hvor hvordan hvorfor i ikke jeg kan man med meg men min mot når noe noen og også
        om opp oss over på skal som så til ut var ved vi vil være
    """,
    "fi": """
        ei eivät ja että en eli he hän ihan itse joka jos jotka kanssa kuin kuinka kun me mikä miksi millä
        milloin minun minä missä miten mitä mutta myös ne niin nyt näin oli olla olen on ovat se sen siitä siis
        sinä sitä tai te tämä tämän vai vain voi voin voiko vaan
    """,
    "hu": """
        a az ahol amely ami azt be csak de e egy és ez ezt fel ha hogy hogyan hol is itt kell ki le lehet már
        meg mi miért mikor mint most nagyon ne nem nincs ő össze pedig s sem szerint több vagy van volt
    """,
    "ro": """
        a ai al ale am ar are așa au că când care ce cel cele cine cu cum cât da dacă de decât din după ea ei el
        este eu face fi fie fost în îmi îți la le lor lui mai mea meu mi nu o or pe pentru poate prin sa să sau
        se și sunt un una unde unei unor unui va vă
    """,
    "tr": """
        ama ancak bana ben beni bir biz bu bunu çok da daha de değil diye en gibi hangi hem her için ile ise
        kadar ki kim mı mi mu mü nasıl ne neden nerede niye o olan olarak sen siz şu ve veya var ya yok zaman
    """,
    "pl": """
        a aby ale bez być by był była co czy dla do go i ich ile im ja jak jaki jako jego jej jest jeśli już
        kiedy kto która które który lub ma mam mi mnie mogę może na nad nie niż o od on ona oraz po pod przez
        przy są się ta tak tego ten to tylko tym w we więc z za ze że
    """,
    "cs": """
        a aby ale ani až bez bude by být co do i jak jako je jeho její jen jeho již jsem jsou k kde kdy kdo
        která které který ma mám mi může na nad ne nebo není o od po pod pokud pro proč při s se si tak také ten
        to u už v ve však z za ze že
    """,
    "ca": """
        a amb això al als aquest aquesta com de del dels des el ella ells els em en és et hi ha i jo la les li
        lo més meu molt no o on per perquè però pot qual quan que què qui s se seu si sense són sobre també un
        una va
    """,
    "id": """
        ada adalah agar akan anda apa apakah atau bagaimana bagi bahwa bisa dan dapat dari dengan di dia harus
        ini itu jika juga kami kapan karena ke kita lebih mana mengapa mereka oleh pada saya sebagai sudah telah
        tidak untuk yang
    """,
}
_RUSSIAN = """
    а без бы был была было быть в вам вас весь во вот все вы где да для до его ее если есть еще ещё же за и из или им их
    к как какая какие какой ко когда кто ли мне можно мой моя мы на над не него нет ни но ну о об он она они от по под
    почему при про с со так такой там то того тоже только ты у уже чем что чтобы эта эти это этот я
"""
_GREEK = """
    αν από αυτό για δεν είναι ένα ένας η θα και κάθε με μια μου να ο οι πώς που πού σας σε στη στην στο τα τη
    την της τι τις το τον του των ως
"""
_SCRIPTS: Final = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("ko", re.compile(r"[\uac00-\ud7af\u1100-\u11ff]")),
    ("zh", re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
    ("el", re.compile(r"[\u0370-\u03ff\u1f00-\u1fff]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
    ("ta", re.compile(r"[\u0b80-\u0bff]")),
    ("hy", re.compile(r"[\u0530-\u058f]")),
)
"""Languages that are detected by their script, in this order: Japanese has Chinese characters too."""
_LETTER = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"[^\W\d_]+")

FUNCTION_WORDS: Final[Mapping[str, frozenset[str]]] = {
    language: frozenset(words.casefold().split())
    for language, words in {**_LATIN, "ru": _RUSSIAN, "el": _GREEK}.items()
}
"""By language; in the form of `words`."""


_LANGUAGES: Final[Mapping[str, tuple[str, ...]]] = {
    word: tuple(language for language, words in FUNCTION_WORDS.items() if word in words)
    for words in FUNCTION_WORDS.values()
    for word in words
}
"""The languages that a function word belongs to."""


def detect(text: str, among: Container[str] = FUNCTION_WORDS) -> str:
    """Return the language of a text, a primary subtag of BCP 47; empty where it cannot be detected.

    Languages of the Latin script are detected `among` those given.
    """
    sample = text[:MAX_DETECTION_CHARACTERS].casefold()
    if not sample.isascii() and (language := _by_script(sample)):
        return language
    found = (language for word in _WORD.findall(sample) for language in _LANGUAGES.get(word, ()) if language in among)
    [(best, hits)] = Counter(found).most_common(1) or [("", 0)]
    return best if hits >= MIN_FUNCTION_WORDS else ""


def _by_script(sample: str) -> str:
    """Return the language whose script at least a fifth of the letters have, as CJK texts quote Latin words."""
    letters = len(_LETTER.findall(sample)) or 1
    for language, script in _SCRIPTS:
        if len(script.findall(sample)) * 5 >= letters:
            return language
    return ""
