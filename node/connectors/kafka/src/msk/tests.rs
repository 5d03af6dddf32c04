//! Tokens against AWS's own signer, and where credentials come from.

use std::collections::BTreeSet;

use super::*;
use crate::testing::seams::seams;

/// 2026-01-02T03:04:05Z
const NOW: Duration = Duration::from_secs(1_767_323_045);

fn credentials(session_token: Option<&str>) -> Credentials {
    Credentials {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
        session_token: session_token.map(str::to_owned),
    }
}

/// What `aws-msk-iam-sasl-signer-python` 1.0.2 signs at this moment, with these credentials.
#[test]
fn urls_are_those_of_the_signer_of_aws() {
    assert_eq!(
        signed_url("us-east-1", &credentials(None), NOW),
        "https://kafka.us-east-1.amazonaws.com/?Action=kafka-cluster%3AConnect&X-Amz-Algorithm=AWS4-HMAC-SHA256\
         &X-Amz-Credential=AKIDEXAMPLE%2F20260102%2Fus-east-1%2Fkafka-cluster%2Faws4_request\
         &X-Amz-Date=20260102T030405Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host\
         &X-Amz-Signature=24ebada2ed545858377591fc84af1a1bff3c40c5e8ab0c1fc85eee156cfb42da"
    );
    // It gives the session's token behind the others, though it signs all of them in the order of their names.
    let sorted = |url: &str| url.split('&').map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(
        sorted(&signed_url("cn-north-1", &credentials(Some("session/token+with=signs")), NOW)),
        sorted(
            "https://kafka.cn-north-1.amazonaws.com/?Action=kafka-cluster%3AConnect&X-Amz-Algorithm=AWS4-HMAC-SHA256\
         &X-Amz-Credential=AKIDEXAMPLE%2F20260102%2Fcn-north-1%2Fkafka-cluster%2Faws4_request\
         &X-Amz-Date=20260102T030405Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host\
         &X-Amz-Security-Token=session%2Ftoken%2Bwith%3Dsigns\
         &X-Amz-Signature=8b30e38de2abb14edc7bba169c18a485621192f5f43e5097de7b20d64b72794b"
        )
    );
}

#[test]
fn a_token_is_the_url_in_base64_and_expires_with_it() {
    let token = token("us-east-1", &credentials(None), NOW);
    assert_eq!(token.expires, NOW + Duration::from_secs(900));
    let url = String::from_utf8(URL_SAFE_NO_PAD.decode(&token.value).unwrap()).unwrap();
    let (signed, user_agent) = url.rsplit_once('&').unwrap();
    assert_eq!(signed, signed_url("us-east-1", &credentials(None), NOW));
    assert!(user_agent.starts_with("User-Agent=thalweg%2F"));
    assert!(!format!("{token:?} {:?}", credentials(Some("s3cret"))).contains("s3cret"));
    assert!(!format!("{token:?}").contains(&token.value));
}

/// RFC 4231, cases 1, 2 and 6.
#[test]
fn hmac_is_that_of_its_rfc() {
    let check = |key: &[u8], message: &str, code: &str| assert_eq!(hex(&hmac(key, message.as_bytes())), code);
    check(&[0x0b; 20], "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    check(b"Jefe", "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    check(
        &[0xaa; 131],
        "Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    );
}

fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn credentials_come_from_variables_or_from_the_file_of_a_profile() {
    let source = |variables: &[(&str, &str)]| MskTokens::new("us-east-1", environment(variables), &seams()).unwrap();
    let found = source(&[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")]).credentials().await.unwrap();
    assert_eq!((found.access_key_id.as_str(), found.session_token), ("a", None));

    let home = tempfile::TempDir::new().unwrap();
    let file = home.path().join(".aws/credentials");
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    let text = "# of a test\n[default]\naws_access_key_id = d\naws_secret_access_key=e\n\n[other]\n\
                AWS_ACCESS_KEY_ID=o\naws_secret_access_key = p=q\naws_session_token = s\n";
    std::fs::write(&file, text).unwrap();
    let (home, file) = (home.path().to_str().unwrap(), file.to_str().unwrap());
    assert_eq!(source(&[("HOME", home)]).credentials().await.unwrap().access_key_id, "d");
    let other = source(&[("AWS_SHARED_CREDENTIALS_FILE", file), ("AWS_PROFILE", "other")]);
    let found = other.credentials().await.unwrap();
    assert_eq!((found.secret_access_key.as_str(), found.session_token.as_deref()), ("p=q", Some("s")));
    assert!(other.token().await.is_ok());

    for lacking in [source(&[]), source(&[("HOME", "/nowhere")]), source(&[("HOME", home), ("AWS_PROFILE", "none")])] {
        let told = lacking.token().await;
        let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SHARED_CREDENTIALS_FILE", "AWS_PROFILE"];
        let names_all = |reason: &str| names.iter().all(|name| reason.contains(name));
        assert!(matches!(&told, Err(TokenError::Denied { reason }) if names_all(reason)), "{told:?}");
    }
}

#[test]
fn a_region_is_part_of_a_name_of_a_host() {
    for wrong in ["", "US-EAST-1", "us-east-1.evil.example/"] {
        assert!(MskTokens::new(wrong, BTreeMap::new(), &seams()).is_err(), "{wrong}");
    }
}
