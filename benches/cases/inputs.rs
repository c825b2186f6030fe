//! Fixed inputs: mail as it comes, and numbers that look random.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use relevo::smtp::client;

/// Bytes of the usual body.
pub const BODY: u64 = 10 * 1024;
/// Bytes of a large one.
pub const LARGE: u64 = 1024 * 1024;

const HEADER: &str = "Received: from app7.shop.example (app7.shop.example [192.0.2.17])\r\n\
    \tby out.shop.example with ESMTP id 4XyZab1c2d3e4f;\r\n\tTue, 25 Nov 2025 09:14:03 +0000\r\n\
    DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=shop.example; s=k1;\r\n\
    \th=from:to:subject:date:message-id:mime-version:content-type;\r\n\
    \tbh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=;\r\n\
    \tb=dRVrDtJkPKHTxZyxGhqHeDAaJtgq7ORUlWCqSBNRYRQbKRpVbzeoFPDqmZRdpM2yMv1SCrmr\r\n\
    From: Shop <news@shop.example>\r\nTo: Ada Example <ada@mail.example>\r\n\
    Subject: =?utf-8?q?Your_order_is_on_its_way?=\r\nDate: Tue, 25 Nov 2025 09:14:03 +0000\r\n\
    Message-ID: <20251125091403.4711.ada@shop.example>\r\nList-Unsubscribe: <https://shop.example/u/4711>\r\n\
    List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nMIME-Version: 1.0\r\n\
    Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n";

const LINES: [&str; 7] = [
    "<table width=3D\"100%\" cellpadding=3D\"0\" cellspacing=3D\"0\"><tr><td align=3D\"=\r\n",
    "left\" style=3D\"font-family:Arial,sans-serif;font-size:14px;color:#333333\">=\r\n",
    "Dear customer,\r\n",
    "\r\n",
    "the parcel with your order 4711 left our house today and will reach you wi=\r\n",
    "..and a line that begins with dots, as one in a few hundred does\r\n",
    "thin two days.</td></tr></table>\r\n",
];

/// A body of exactly so many bytes, as it is stored.
pub fn body(bytes: u64) -> Vec<u8> {
    let bytes = bytes as usize;
    let mut body = HEADER.as_bytes().to_vec();
    for (number, line) in LINES.iter().cycle().enumerate() {
        if body.len() + line.len() + 2 > bytes {
            break;
        }
        if !line.starts_with('.') || number % 20 == 5 {
            body.extend_from_slice(line.as_bytes());
        }
    }
    body.resize(bytes - 2, b'x');
    body.extend_from_slice(b"\r\n");
    body
}

/// The same as a client sends it, the final dot included.
pub fn sent(bytes: u64) -> Vec<u8> {
    let mut sent = Vec::new();
    client::stuff(&body(bytes), true).for_each(|piece| sent.extend_from_slice(piece));
    sent.extend_from_slice(b".\r\n");
    sent
}

/// Numbers that look random and are the same every time.
pub struct Numbers(pub u64);

impl Numbers {
    /// The next one, below a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The constants of Knuth's MMIX; its low bits are poor.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Polls once. None: it waits.
pub fn poll<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
