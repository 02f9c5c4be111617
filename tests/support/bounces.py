"""Bounced mails, as Postfix and Exim write them (RFC 3464)."""

from __future__ import annotations

from dataclasses import dataclass

POSTFIX = """\
Return-Path: <>
Delivered-To: {delivered_to}
Received: by mx.lender.example (Postfix)
	id 4F1C23E00A2; Tue, 24 Nov 2026 10:00:05 +0800 (CST)
Date: Tue, 24 Nov 2026 10:00:05 +0800 (CST)
From: MAILER-DAEMON@mx.lender.example (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: {return_path}
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="E4A1B3E009F.1795485605/mx.lender.example"
Content-Transfer-Encoding: 8bit
Message-Id: <20261124020005.4F1C23E00A2@mx.lender.example>

This is a MIME-encapsulated message.

--E4A1B3E009F.1795485605/mx.lender.example
Content-Description: Notification
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

This is the mail system at host mx.lender.example.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

                   The mail system

<{to}>: host mx.example.com[192.0.2.1] said: {diagnostic}
    (in reply to {command} command)

--E4A1B3E009F.1795485605/mx.lender.example
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.lender.example
X-Postfix-Queue-ID: E4A1B3E009F
X-Postfix-Sender: rfc822; {return_path}
Arrival-Date: Tue, 24 Nov 2026 10:00:01 +0800 (CST)

Final-Recipient: rfc822; {to}
Original-Recipient: rfc822;{to}
Action: {action}
Status: {status}
Remote-MTA: dns; mx.example.com
Diagnostic-Code: smtp; {diagnostic}

--E4A1B3E009F.1795485605/mx.lender.example
Content-Description: Undelivered Message
Content-Type: {returned}
Content-Transfer-Encoding: 8bit

Return-Path: <{return_path}>
{original}
--E4A1B3E009F.1795485605/mx.lender.example--
"""
EXIM = """\
Return-path: <>
Envelope-to: {delivered_to}
Delivery-date: Tue, 24 Nov 2026 10:00:05 +0800
Received: from Debian-exim by mx.lender.example with local (Exim 4.96)
	id 1vNgeP-000abc-2d
	for {return_path};
	Tue, 24 Nov 2026 10:00:05 +0800
X-Failed-Recipients: {to}
Auto-Submitted: auto-replied
From: Mail Delivery System <Mailer-Daemon@mx.lender.example>
To: {return_path}
References: {message_id}
Content-Type: multipart/report; report-type=delivery-status; boundary=1795485605-eximdsn-1804289383
MIME-Version: 1.0
Subject: Mail delivery failed: returning message to sender
Message-Id: <E1vNgeP-000abc-2d@mx.lender.example>
Date: Tue, 24 Nov 2026 10:00:05 +0800

--1795485605-eximdsn-1804289383
Content-type: text/plain; charset=us-ascii

This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  {to}
    host mx.example.com [192.0.2.1]
    SMTP error from remote mail server after {command}:<{to}>:
    {diagnostic}

--1795485605-eximdsn-1804289383
Content-type: message/delivery-status

Reporting-MTA: dns; mx.lender.example

Action: {action}
Final-Recipient: rfc822;{to}
Status: {status}
Remote-MTA: dns; mx.example.com
Diagnostic-Code: smtp; {diagnostic}

--1795485605-eximdsn-1804289383
Content-type: {returned}

Return-path: <{return_path}>
{original}
--1795485605-eximdsn-1804289383--
"""
FORMS = {"postfix": POSTFIX, "exim": EXIM}


@dataclass(frozen=True)
class CameBack:
    """A mail of ours that bounced."""

    return_path: str
    original: str
    """Its headers and its body."""
    to: str = "b1@example.com"
    diagnostic: str = "550 5.1.1 User unknown"
    status: str = "5.1.1"
    action: str = "failed"
    command: str = "RCPT TO"
    returned: str = "message/rfc822"
    delivered_to: str = "dunning@lender.example"

    def written_by(self, server: str) -> bytes:
        """Return the bounce as this server writes it, with the line endings of a mailbox on disk."""
        message_id = next((line for line in self.original.splitlines() if line.startswith("Message-ID:")), "Message-ID: <none>")
        values = {**{name: getattr(self, name) for name in self.__dataclass_fields__}, "message_id": message_id.partition(" ")[2]}
        return FORMS[server].format(**values).encode()
