//! What a bare signature costs, as the library makes it: microseconds of RSA-2048 and of Ed25519, a line each. benches/signed.py stands it beside
//! what a signed message costs.

use std::hint::black_box;
use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};

/// The middle one of nine turns.
#[expect(clippy::disallowed_methods, reason = "a bench has a clock")]
fn microseconds(count: u32, mut sign: impl FnMut()) -> f64 {
    let mut turns: Vec<f64> = (0..9)
        .map(|_| {
            let begun = Instant::now();
            (0..count).for_each(|_| sign());
            begun.elapsed().as_secs_f64() * 1e6 / f64::from(count)
        })
        .collect();
    turns.sort_by(f64::total_cmp);
    turns[4]
}

fn main() {
    let hash = digest(&SHA256, b"a header section");
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
    let mut signature = vec![0; rsa.public_modulus_len()];
    let sign = || rsa.sign_digest(&RSA_PKCS1_SHA256, &hash, &mut signature).expect("a signature");
    println!("rsa {:.1}", microseconds(400, sign));
    let ed25519 = Ed25519KeyPair::generate().expect("a key");
    println!("ed25519 {:.1}", microseconds(4_000, || _ = black_box(ed25519.sign(hash.as_ref()))));
}
