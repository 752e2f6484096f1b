"""Steps that do with a secret what nobody should: print it, log it, return it, raise it."""

import logging
from base64 import b64encode
from hashlib import sha256

import structlog
from pydantic import TypeAdapter

import leat


def digest(value: str) -> str:
    """What proves that a value arrived, and does not tell it."""
    return sha256(value.encode()).hexdigest()


@leat.step
async def give(token: str) -> dict[str, object]:
    """Returns it as value, as key, in base64 and inside a text."""
    encoded = b64encode(f"user:{token}".encode()).decode()
    return {"sha": digest(token), "plain": token, token: 1, "list": [encoded, f"<{token}>"]}


@leat.step
def scream(token: str) -> None:
    """Raises it, from a thread, with a cause."""
    try:
        {}[token]
    except KeyError as error:
        raise ValueError(f"the token {token!r} is refused") from error


@leat.step
async def refuse(token: str) -> None:
    raise leat.StepFailed(f"no: {token}", type="Refused", details={"token": token, token: [token]})


@leat.step
async def shorten(token: str) -> None:
    """Raises an error of pydantic, which shows the beginning and the end of what it found."""
    TypeAdapter(list[int]).validate_python([token + "~" * 80 + token])


@leat.step
async def whisper(token: str) -> str:
    """Logs it, as functions do: by the standard library, by structlog, and as the message of an exception."""
    logging.getLogger("shop").error("the canary says %s", token)
    structlog.get_logger().warning("whisper", token=token, facts={"all": [token]})
    try:
        int(token)
    except ValueError:
        logging.getLogger("shop").exception("it broke")
    return digest(token)
