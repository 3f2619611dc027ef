"""Reads a token of the API with PyJWT, then shows tokens that PyJWT made. In: a line of JSON (url, key, name, password).

Out: a line of JSON: the header and the claims of the good token, and for each case its answer's status and code.
"""

import base64
import hmac
import json
import sys
import time

import jwt
import requests

given = json.loads(sys.stdin.readline())
url, key = given["url"], given["key"]
login = requests.post(
    f"{url}/api/v1/auth/login", json={"name": given["name"], "password": given["password"]}, timeout=20
)
login.raise_for_status()
good = login.json()["token"]
header = jwt.get_unverified_header(good)
claims = jwt.decode(
    good, key, algorithms=["HS256"], issuer="qcat", options={"require": ["exp", "iat", "iss", "sub", "jti"]}
)
now = int(time.time())


def made(changes=None, by=key, algorithm="HS256", without=()):
    told = {**claims, **(changes or {})}
    return jwt.encode({name: told[name] for name in told if name not in without}, by, algorithm=algorithm)


head, body, signature = good.split(".")
# PyJWT signs with no key at all only by "none".
unkeyed = base64.urlsafe_b64encode(hmac.digest(b"", f"{head}.{body}".encode(), "sha256")).decode().rstrip("=")
other_body = made({"role": "admin", "sub": "root"}).split(".")[1]
cases = {
    "given": good,
    "made": made(),
    "expired": made({"iat": now - 7200, "exp": now - 3600}),
    "foreign_key": made(by="another key that is longer than 32 bytes"),
    "no_key": f"{head}.{body}.{unkeyed}",
    "none": made(by=None, algorithm="none"),
    "hs384": made(algorithm="HS384"),
    "hs512": made(algorithm="HS512"),
    "other_claims": f"{head}.{other_body}.{signature}",
    "no_signature": f"{head}.{body}.",
    "other_issuer": made({"iss": "somebody"}),
    "other_user": made({"sub": "nobody"}),
    "other_version": made({"ver": claims["ver"] + 1}),
    "no_end": made(without=("exp",)),
    "no_user": made(without=("sub",)),
    "no_version": made(without=("ver",)),
    "long_local": made({"sub": ":local", "role": "admin"}),
    "text": "nonsense",
}


def shown(token):
    answer = requests.get(f"{url}/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"}, timeout=20)
    body = answer.json()
    return [answer.status_code, body.get("code") or body.get("role")]


answers = {name: shown(token) for name, token in cases.items()}
print(json.dumps({"header": header, "claims": claims, "answers": answers}))
