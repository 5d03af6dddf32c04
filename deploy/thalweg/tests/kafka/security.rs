//! Clients show who they are by passwords and certificates. Secrets are shown to nobody else: not in plans, logs and answers,
//! nor in what coordinators keep.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use super::super::{
    WHOLE,
    broker::{PASSWORD, TOKEN, USER, certificate, shared},
    process::{Background, Place, free_addresses, thalweg, wait_until},
    table, topics,
};

const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// A script that reads a topic as the user, with this password.
fn script(servers: &str, topic: &str, mechanism: &str, password: &str) -> String {
    let from = table(
        servers,
        topic,
        &format!(
            "'format' = 'raw', {WHOLE}, 'properties.security.protocol' = 'sasl_plaintext',
             'properties.sasl.mechanism' = '{mechanism}', 'properties.sasl.username' = '{USER}',
             'properties.sasl.password' = {password}"
        ),
    );
    format!("CREATE TABLE i (t STRING) WITH ({from}); SELECT t FROM i;")
}

fn place_with(name: &str, value: &str) -> Place {
    Place { variables: [(name.to_owned(), value.to_owned())].into(), ..Place::default() }
}

#[test]
fn a_password_from_a_file_or_the_environment_lets_the_client_in() {
    let Some(broker) = shared() else { return };
    let (open, closed) = (broker.servers(), broker.servers_with_passwords());
    topics::create(open, "secret.read", 1);
    topics::write(open, "secret.read", 0, &["told"]);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("kafka-password");
    fs::write(&file, format!("{PASSWORD}\n")).expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its mode can be set");
    let secrets = directory.path().to_str().expect("a path of text");
    for mechanism in MECHANISMS {
        let sql = script(closed, "secret.read", mechanism, "secret('kafka-password')");
        let by_file = thalweg(&["run", "-e", &sql, "-o", "csv", "--secrets", secrets]);
        assert_eq!((by_file.code, by_file.stdout.as_str()), (Some(0), "t\ntold\n"), "{mechanism}: {by_file:?}");
        let place = place_with("THALWEG_SECRET_KAFKA_PASSWORD", PASSWORD);
        let by_variable = place.thalweg(&["run", "-e", &sql, "-o", "csv"]);
        assert_eq!((by_variable.code, by_variable.stdout.as_str()), (Some(0), "t\ntold\n"), "{by_variable:?}");
    }
}

#[test]
fn a_bearer_token_lets_the_client_in() {
    let Some(broker) = shared() else { return };
    topics::create(broker.servers(), "token.read", 1);
    topics::write(broker.servers(), "token.read", 0, &["told"]);
    let from = table(
        broker.servers_with_passwords(),
        "token.read",
        &format!(
            "'format' = 'raw', {WHOLE}, 'properties.security.protocol' = 'sasl_plaintext',
             'properties.sasl.mechanism' = 'OAUTHBEARER', 'properties.sasl.oauthbearer.token' = secret('kafka-token')"
        ),
    );
    let sql = format!("CREATE TABLE i (t STRING) WITH ({from}); SELECT t FROM i;");
    let read = |token: &str| place_with("THALWEG_SECRET_KAFKA_TOKEN", token).thalweg(&["run", "-e", &sql, "-o", "csv"]);
    let let_in = read(TOKEN);
    assert_eq!((let_in.code, let_in.stdout.as_str()), (Some(0), "t\ntold\n"), "{let_in:?}");
    let tampered = TOKEN.replace(".eyJ", ".eyK");
    let kept_out = read(&tampered);
    assert_eq!(kept_out.code, Some(1), "{kept_out:?}");
    assert!(!kept_out.stderr.contains(&tampered), "{kept_out:?}");
}

#[test]
fn a_password_that_is_wrong_or_missing_is_told_without_it() {
    let Some(broker) = shared() else { return };
    let (open, closed) = (broker.servers(), broker.servers_with_passwords());
    topics::create(open, "secret.refused", 1);
    for mechanism in MECHANISMS {
        let sql = script(closed, "secret.refused", mechanism, "secret('kafka-password')");
        let place = place_with("THALWEG_SECRET_KAFKA_PASSWORD", "not-the-right-one");
        let ended = Background::start_at(&place, &["run", "-e", &sql]).wait();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        for told in [closed, "secret.refused", "properties.sasl."] {
            assert!(ended.stderr.contains(told), "{mechanism}: {told} is not told: {ended:?}");
        }
        assert!(!ended.stderr.contains("not-the-right-one"), "{mechanism}: {ended:?}");
        assert!(!ended.stderr.contains("is tried again"), "{mechanism}: {ended:?}");
    }
    let sql = script(closed, "secret.refused", "PLAIN", "secret('kafka-password')");
    let missing = thalweg(&["run", "-e", &sql]);
    assert_eq!(missing.code, Some(1), "{missing:?}");
    for told in ["'properties.sasl.password'", "'kafka-password'", "THALWEG_SECRET_KAFKA_PASSWORD"] {
        assert!(missing.stderr.contains(told), "{told} is not told: {missing:?}");
    }
}

/// The files below a directory that have these bytes in them.
fn files_with(directory: &Path, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, bytes));
        } else if fs::read(&path).is_ok_and(|content| content.windows(bytes.len()).any(|window| window == bytes)) {
            found.push(path.display().to_string());
        }
    }
    found
}

/// A cluster whose log tells everything reads with a secret and writes exactly once with one.
#[test]
fn a_secret_is_shown_to_nobody() {
    let Some(broker) = shared() else { return };
    let (open, closed) = (broker.servers(), broker.servers_with_passwords());
    for topic in ["secret.in", "secret.out"] {
        topics::create(open, topic, 1);
    }
    topics::write(open, "secret.in", 0, &["told"]);
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    let [address]: [String; 1] = free_addresses();
    let place = place_with("THALWEG_SECRET_KAFKA_PASSWORD", PASSWORD);
    let dev = ["dev", "--listen", &address, "--data-dir", data.to_str().expect("a path of text"), "--log", "trace"];
    let cluster = Background::start_at(&place, &dev);
    let ask = |arguments: &[&str]| thalweg(&[arguments, &["--coordinator", &address, "--timeout", "30 s"]].concat());
    wait_until("the cluster", || (ask(&["nodes", "-o", "csv"]).stdout.lines().count() == 2).then_some(()));
    let login = format!(
        "'properties.security.protocol' = 'sasl_plaintext', 'properties.sasl.mechanism' = 'SCRAM-SHA-512',
         'properties.sasl.username' = '{USER}', 'properties.sasl.password' = secret('kafka-password')"
    );
    let from =
        table(closed, "secret.in", &format!("'format' = 'raw', 'scan.startup.mode' = 'earliest-offset', {login}"));
    let to = table(closed, "secret.out", &format!("'format' = 'raw', {login}"));
    let sql = format!(
        "SET 'checkpoint.interval' = '200 ms'; CREATE TABLE i (t STRING) WITH ({from}); CREATE TABLE o (t STRING) WITH ({to});
         INSERT INTO o SELECT t FROM i;"
    );
    let mut told = vec![ask(&["explain", "-e", &sql]), ask(&["submit", "-e", &sql])];
    wait_until("the row", || (topics::read(open, "secret.out").len() == 1).then_some(()));
    told.extend(["table", "json", "csv"].map(|format| ask(&["job", "show", "job-1", "-o", format])));
    told.push(ask(&["jobs", "-o", "json"]));
    assert_eq!(files_with(&data, PASSWORD.as_bytes()), [] as [String; 0], "nothing that is kept has the secret");
    told.push(ask(&["job", "cancel", "job-1"]));
    told.push(cluster.terminate());
    for outcome in &told {
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert!(!outcome.stdout.contains(PASSWORD) && !outcome.stderr.contains(PASSWORD), "{outcome:?}");
    }
    let named = told.iter().filter(|outcome| outcome.stdout.contains("secret('kafka-password')")).count();
    assert!(named >= 1, "the plan has the secret's name: {:?}", told[0]);
}

/// A client with a certificate reads and writes; without one, or without TLS, it is told so.
#[test]
fn a_certificate_lets_the_client_in() {
    let Some(broker) = shared() else { return };
    let (open, closed) = (broker.servers(), broker.servers_with_tls());
    for topic in ["tls.in", "tls.out"] {
        topics::create(open, topic, 1);
    }
    topics::write(open, "tls.in", 0, &["told"]);
    let key = fs::read_to_string(certificate("client.key")).expect("a key");
    let place = place_with("THALWEG_SECRET_KAFKA_KEY", &key);
    let own = fs::read_to_string(certificate("client.pem")).expect("a certificate");
    let authority = certificate("authority.pem");
    let tls =
        format!("'properties.security.protocol' = 'ssl', 'properties.ssl.ca.location' = '{}'", authority.display());
    let shown = format!("'properties.ssl.certificate.pem' = '{own}', 'properties.ssl.key.pem' = secret('kafka-key')");
    let sql = |login: &str| {
        let from = table(closed, "tls.in", &format!("'format' = 'raw', {WHOLE}, {login}"));
        let to = table(closed, "tls.out", &format!("'format' = 'raw', {login}"));
        format!(
            "CREATE TABLE i (t STRING) WITH ({from}); CREATE TABLE o (t STRING) WITH ({to}); INSERT INTO o SELECT t FROM i;"
        )
    };
    let ran = place.thalweg(&["run", "-e", &sql(&format!("{tls}, {shown}"))]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let written: Vec<String> = topics::read(open, "tls.out").iter().map(topics::Message::text).collect();
    assert_eq!(written, ["told"]);
    let nobody = "'properties.security.protocol' = 'ssl'";
    for (login, told) in [(nobody, "certificate"), (tls.as_str(), "SSL"), ("'properties.client.id' = 'x'", closed)] {
        let ended = Background::start_at(&place, &["run", "-e", &sql(login)]).wait();
        assert_eq!(ended.code, Some(1), "{login}: {ended:?}");
        assert!(ended.stderr.contains(closed) && ended.stderr.contains(told), "{login}: {ended:?}");
    }
}
