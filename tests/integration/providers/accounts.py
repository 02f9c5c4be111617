"""One account of every kind."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from services.notifier.providers.wire import Account
from tests.unit.providers.values import TEMPLATES, an_account

AWS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "example"}
SERVICE = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
OTHER_APNS = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
OTHER = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
_EVENTS = ec.generate_private_key(ec.SECP256R1())
EVENTS_PRIVATE = _EVENTS.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
EVENTS_PUBLIC = base64.b64encode(_EVENTS.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
ACCOUNTS: dict[str, Account] = {
    "twilio": an_account("twilio", {"account_sid": "AC" + "0" * 32, "auth_token": "tok"}, {"from": "+12025550100"}),
    "vonage": an_account(
        "vonage",
        {"api_key": "abcd1234", "api_secret": "abcdef0123456789", "signature_secret": "sig"},
        {"from": "Lender", "signature_method": "sha256"},
    ),
    "messagebird": an_account("messagebird", {"access_key": "live_1", "signing_key": "k" * 32}, {"from": "Lender"}),
    "sendgrid": an_account(
        "sendgrid",
        {"api_key": "SG.1", "verification_key": EVENTS_PUBLIC, "signing_key": EVENTS_PRIVATE},
        {"from": "dunning@lender.example", "from_name": "Lender"},
    ),
    "aws_ses": an_account("aws_ses", AWS, {"from": "dunning@lender.example", "region": "eu-central-1"}),
    "aws_sms": an_account("aws_sms", {**AWS, "session_token": "session"}, {"region": "eu-central-1"}),
    "fcm": an_account("fcm", {"client_email": "a@b.iam.example", "private_key": SERVICE}, {"project_id": "wallet"}),
    "aliyun_sms": an_account(
        "aliyun_sms",
        {"access_key_id": "LTAI5t", "access_key_secret": "secret", "security_token": "sts"},
        {"sign_name": "Lender", "templates": TEMPLATES["aliyun_sms"]},
    ),
    "tencent_sms": an_account(
        "tencent_sms",
        {"secret_id": "AKIDz8krbsJ5yKBZQpn74WFkmLPx3", "secret_key": "secret"},
        {"sdk_app_id": "1400006666", "region": "ap-guangzhou", "sign_name": "Lender", "templates": TEMPLATES["tencent_sms"]},
    ),
    "africastalking": an_account("africastalking", {"api_key": "atsk_1"}, {"username": "lender", "from": "Lender"}),
    "jpush": an_account("jpush", {"app_key": "7d431e42dfa6a6d693ac2d04", "master_secret": "secret"}),
    "apns": an_account(
        "apns", {"private_key": EVENTS_PRIVATE}, {"topic": "com.lender.wallet", "team_id": "DEF123GHIJ", "key_id": "ABC123DEFG"}
    ),
    "webhook": an_account("webhook", {"secret": "whsec_" + base64.b64encode(b"s" * 24).decode()}, {"url": "https://127.0.0.1:1/hook"}),
}
