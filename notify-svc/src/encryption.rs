//! The encryption of Web Push (RFC 8291, in the coding of RFC 8188): what the push service carries, the browser alone reads.

use ring::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral},
    hkdf::{HKDF_SHA256, KeyType, Salt},
    rand::{SecureRandom, SystemRandom},
};

/// How many bytes can be encrypted: a push service takes 4,096, with the head, the tag and the delimiter (RFC 8030).
pub const MOST: usize = 4096 - HEAD - 16 - 1;
/// Salt, record size, the key's length and the key.
const HEAD: usize = 16 + 4 + 1 + KEY;
/// The length of an uncompressed point.
const KEY: usize = 65;

/// The browser's key is none, or there is no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("can't encrypt for this subscription")]
pub struct CantEncrypt;

impl From<ring::error::Unspecified> for CantEncrypt {
    fn from(_: ring::error::Unspecified) -> Self {
        Self
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn derive<const N: usize>(salt: &[u8], from: &[u8], info: &[&[u8]]) -> Result<[u8; N], CantEncrypt> {
    let mut key = [0; N];
    Salt::new(HKDF_SHA256, salt).extract(from).expand(info, Length(N))?.fill(&mut key)?;
    Ok(key)
}

/// Encrypts for a browser: its public key (65 bytes) and then the 16 bytes that it shares, as subscriptions keep them.
pub fn encrypt(random: &SystemRandom, secret: &[u8], text: &[u8]) -> Result<Vec<u8>, CantEncrypt> {
    let (theirs, auth) = secret.split_at_checked(KEY).ok_or(CantEncrypt)?;
    let own = EphemeralPrivateKey::generate(&ECDH_P256, random)?;
    let public = own.compute_public_key()?;
    let mut salt = [0; 16];
    random.fill(&mut salt)?;
    let seal = |shared: &[u8]| seal(shared, auth, theirs, public.as_ref(), &salt, text);
    agree_ephemeral(own, &UnparsedPublicKey::new(&ECDH_P256, theirs), seal)?
}

fn seal(
    shared: &[u8],
    auth: &[u8],
    theirs: &[u8],
    own: &[u8],
    salt: &[u8],
    text: &[u8],
) -> Result<Vec<u8>, CantEncrypt> {
    if text.len() > MOST {
        return Err(CantEncrypt);
    }
    let input: [u8; 32] = derive(auth, shared, &[b"WebPush: info\0", theirs, own])?;
    let key: [u8; 16] = derive(salt, &input, &[b"Content-Encoding: aes128gcm\0"])?;
    let nonce: [u8; 12] = derive(salt, &input, &[b"Content-Encoding: nonce\0"])?;
    let mut body = Vec::with_capacity(HEAD + text.len() + 17);
    body.extend_from_slice(salt);
    body.extend_from_slice(&4096_u32.to_be_bytes());
    body.push(u8::try_from(KEY).map_err(|_| CantEncrypt)?);
    body.extend_from_slice(own);
    // One record, which is the last.
    let mut record = [text, &[2]].concat();
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key)?);
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut record)?;
    body.append(&mut record);
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    fn bytes(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    /// RFC 8291, section 5 and appendix A.
    #[test]
    fn the_example_of_the_rfc() {
        let body = seal(
            &bytes("kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs"),
            &bytes("BTBZMqHH6r4Tts7J_aSIgg"),
            &bytes("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"),
            &bytes("BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"),
            &bytes("DGv6ra1nlYgDCS1FRnbzlw"),
            b"When I grow up, I want to be a watermelon",
        );
        let expected = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
        assert_eq!(URL_SAFE_NO_PAD.encode(body.unwrap()), expected);
    }

    #[test]
    fn the_longest_fits_and_each_is_another() {
        let random = SystemRandom::new();
        let theirs = EphemeralPrivateKey::generate(&ECDH_P256, &random).unwrap().compute_public_key().unwrap();
        let secret = [theirs.as_ref(), &[7; 16]].concat();
        let text = vec![b'x'; MOST];
        let one = encrypt(&random, &secret, &text).unwrap();
        assert_eq!(one.len(), 4096);
        assert_ne!(encrypt(&random, &secret, &text).unwrap(), one);
        assert!(encrypt(&random, &secret, &vec![0; MOST + 1]).is_err());
        assert!(encrypt(&random, &[4; 81], b"x").is_err() && encrypt(&random, &[], b"x").is_err());
    }
}
