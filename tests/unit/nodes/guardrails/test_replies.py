"""A reply counts as yes or no only where the whole text is one, in any known language."""

import pytest
from graphmesh_nodes.guardrails.replies import MAX_CHARACTERS, reply_of

ACCEPTED = """
    yes | Yes, please! | YES!!! | yep | Sure, thanks. | ok | go ahead | Please do it | “yes” | ＹＥＳ | y
    I accept | 👍 | 👍🏽 | yes 👍
    Ja, bitte. | Jawohl | Einverstanden | Na klar, gerne | Natürlich | natuerlich
    Oui, s’il vous plaît | d'accord | Bien sûr | OUI
    Sí, por favor. | Si | Claro que sí | De acuerdo, gracias
    Sì, grazie | Va bene | D’accordo
    Sim, por favor | Está bem | Pode fazer
    Akkoord | Ja graag | Doe maar, dank je wel
    Tak, proszę. | Zgadzam się | Oczywiście
    Japp | Självklart, tack | Ja tack
    Evet | TAMAM | Evet, lütfen
    Да | да, пожалуйста | Согласна | Хорошо
    Так, будь ласка | Згоден
    はい | はい、お願いします。 | もちろんです
    是的 | 好的，谢谢！ | 確認 | 可以
    네 | 네, 감사합니다 | 동의합니다
    نعم | نَعَم، من فضلك | موافق | \u200fنعم\u200f
"""
DECLINED = """
    no | No, thanks! | nope | NO | n | Please don't | do not do it | Never mind | 👎 | no 👎 | Of course not
    Nein, danke | Auf keinen Fall | lieber nicht | Natürlich nicht
    Non merci | Pas d’accord | Surtout pas
    No, gracias | De ninguna manera | Claro que no
    No grazie | Meglio di no
    Não, obrigada | De jeito nenhum
    Nee, bedankt | Liever niet
    Nie, dziękuję | Nie zgadzam się
    Nej tack | Absolut inte
    Hayır | HAYIR | İstemiyorum | Hayır, teşekkürler
    Нет, спасибо | Не надо | НЕТ
    Ні | Не треба
    いいえ | 違います | やめてください
    不要 | 不用，谢谢 | 不同意 | 不可以
    아니요 | 하지 마세요
    لا | لا، شكرًا | غير موافق
"""
OTHER = """
    yes? | Yes, but only half | yes and the pen too | no problem, yes | no problem | yes no | not yes
    yes if it is free | maybe | please
    thanks | yes 2 | yes+ | yes/no | why? | yes 👎 | 🙅 | y\u200bes | yes\U000e0041 | \u202eon | уеs | ok?
    I said yes yesterday | ok but no
    Ja, aber nur die Tinte | Ja? | Kein Problem | nicht ja | ja oder nein | Oui mais non
    Oui, si c'est gratuit | Sí, pero mañana | No sé
    Sim, mas depois | Sì ma non subito | Tak, ale później | Ja, men inte nu | Evet ama sonra
    Да нет | Да, но потом | 好不好 | 是不是
    はい？ | はい、でも | 네 하지만 | نعم ولكن | نعم؟ | {"accept": true} | accept: false | true | 1 | ... | ? | \u200b
"""


def _texts(listed: str) -> list[str]:
    return [text.strip(" ") for line in listed.strip().split("\n") for text in line.strip(" ").split(" | ")]


@pytest.mark.parametrize("text", _texts(ACCEPTED))
def test_accepts_a_plain_yes(text: str) -> None:
    assert reply_of(text) == "accept"


@pytest.mark.parametrize("text", _texts(DECLINED))
def test_declines_by_a_plain_no(text: str) -> None:
    assert reply_of(text) == "decline"


@pytest.mark.parametrize("text", ["", " ", *_texts(OTHER)])
def test_takes_nothing_else_for_a_decision(text: str) -> None:
    assert reply_of(text) == "other"


def test_takes_a_long_text_for_no_decision() -> None:
    assert reply_of("yes " * 25) == "accept"
    assert reply_of("yes " * (MAX_CHARACTERS // 4) + "y") == "other"
    assert reply_of("yes " * 1_000_000) == "other"
