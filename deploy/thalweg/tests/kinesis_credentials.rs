//! Whose credentials a table of Kinesis asks with: found as AWS's tools find them, or named by the table. The server is the test's
//! own. It stands for Kinesis, for the Security Token Service, for SSO, and for what a container and an instance ask; to every
//! question of Kinesis it answers that there is no such stream, and it keeps the id of the key with which it was signed.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod process;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use process::{Outcome, Place};

/// What nothing may show.
const SECRET: &str = "wJalrXUtnFEMI-hidden";
const ROLE: &str = "arn:aws:iam::123456789012:role/reader";
const SSO_START: &str = "https://thalweg.awsapps.com/start";
/// Where AWS's tools keep what they were given by SSO: the SHA-1 of its address.
const SSO_TOKEN: &str = ".aws/sso/cache/7d834edcbb0fa55861fa1a7eb49a238bc827d2f0.json";

/// What was asked: of Kinesis, the id of the key; of others, the beginning of the question with what tells it from others.
type Asked = Arc<Mutex<Vec<String>>>;

/// Answers for as long as the test runs.
struct Server {
    address: String,
    asked: Asked,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it has an address").to_string();
        let asked = Asked::default();
        let keeps = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let keeps = keeps.clone();
                std::thread::spawn(move || answer(&stream, &keeps));
            }
        });
        Self { address, asked }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Reads one question and answers it.
fn answer(mut stream: &TcpStream, asked: &Asked) {
    let mut reader = BufReader::new(stream);
    let mut lines: Vec<String> = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or_default() == 0 || line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let header = |name: &str| {
        let named = lines.iter().filter_map(|line| line.split_once(": "));
        named.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let mut body = vec![0; header("content-length").and_then(|bytes| bytes.parse().ok()).unwrap_or_default()];
    if lines.is_empty() || reader.read_exact(&mut body).is_err() {
        return;
    }
    let path = lines[0].split(' ').nth(1).unwrap_or_default().to_owned();
    let (told, status, answer) = answer_to(&path, header, &String::from_utf8_lossy(&body));
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(told);
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n", answer.len());
    // Instances tell how long their token holds.
    let more = "content-type: application/x-amz-json-1.1\r\nx-aws-ec2-metadata-token-ttl-seconds: 600\r\n\r\n";
    stream.write_all(format!("{head}{more}{answer}").as_bytes()).ok();
}

/// What is kept of a question, and the answer.
fn answer_to(path: &str, header: impl Fn(&str) -> Option<String>, body: &str) -> (String, &'static str, String) {
    let signed_by = || {
        let signature = header("authorization").unwrap_or_default();
        let key = signature.split_once("Credential=").and_then(|(_, rest)| rest.split('/').next());
        key.unwrap_or("nobody").to_owned()
    };
    if header("x-amz-target").is_some_and(|target| target.starts_with("Kinesis_")) {
        let missing = r#"{"__type":"ResourceNotFoundException","message":"Stream clicks under account 1 not found."}"#;
        return (signed_by(), "400 Bad Request", missing.to_owned());
    }
    let of = |action: &str| body.contains(&format!("Action={action}&"));
    let as_json = |key: &str| {
        format!(
            r#"{{"Code":"Success","Type":"AWS-HMAC","LastUpdated":"2026-01-01T00:00:00Z","AccessKeyId":"{key}",
                "SecretAccessKey":"{SECRET}","Token":"{SECRET}","Expiration":"2099-01-01T00:00:00Z"}}"#
        )
    };
    let answer = match path {
        "/" if of("AssumeRole") => {
            let external = if body.contains("ExternalId=other") { " as other" } else { "" };
            return (format!("AssumeRole by {}{external}", signed_by()), "200 OK", as_xml("AssumeRole", "ASIAROLE"));
        }
        "/" if of("AssumeRoleWithWebIdentity") => as_xml("AssumeRoleWithWebIdentity", "ASIAWEB"),
        "/container" => as_json("ASIACONTAINER"),
        "/latest/api/token" => "a token".to_owned(),
        path if path.trim_end_matches('/').ends_with("/iam/security-credentials") => "reader".to_owned(),
        path if path.ends_with("/reader") => as_json("ASIAINSTANCE"),
        path if path.starts_with("/federation/credentials") => format!(
            r#"{{"roleCredentials":{{"accessKeyId":"ASIASSO","secretAccessKey":"{SECRET}","sessionToken":"{SECRET}",
                "expiration":4070908800000}}}}"#
        ),
        _ => return (path.to_owned(), "404 Not Found", String::new()),
    };
    (path.to_owned(), "200 OK", answer)
}

fn as_xml(action: &str, key: &str) -> String {
    format!(
        r#"<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><AssumedRoleUser>
           <Arn>arn:aws:sts::123456789012:assumed-role/reader/s</Arn><AssumedRoleId>A:s</AssumedRoleId></AssumedRoleUser>
           <Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>
           <SessionToken>{SECRET}</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>
           </{action}Result><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{action}Response>"#
    )
}

/// A home with profiles and with what SSO has given.
fn fill_home(home: &Path) {
    let keys = |id: &str| format!("aws_access_key_id = {id}\naws_secret_access_key = {SECRET}\n");
    let write = |name: &str, text: String| {
        let file = home.join(name);
        fs::create_dir_all(file.parent().expect("it lies in a folder")).expect("a folder");
        fs::write(file, text).expect("a file");
    };
    write(".aws/credentials", format!("[work]\n{}", keys("AKIAWORK")));
    let sso = format!(
        "sso_start_url = {SSO_START}\nsso_region = us-east-1\nsso_account_id = 123456789012\nsso_role_name = reader\n"
    );
    let role = format!("role_arn = {ROLE}\nsource_profile = work\n");
    write(".aws/config", format!("[profile single-sign-on]\n{sso}[profile with-role]\n{role}"));
    let token = format!(r#"{{"accessToken":"{SECRET}","expiresAt":"2099-01-01T00:00:00Z","startUrl":"{SSO_START}"}}"#);
    write(SSO_TOKEN, token);
    write("token", "a.web.token".to_owned());
    write("others", format!("[elsewhere]\n{}", keys("AKIAELSEWHERE")));
}

/// Runs a script over a table with these options and nothing of AWS in its environment but these variables.
fn run(server: &Server, home: &Path, variables: &[(&str, &str)], options: &[(&str, &str)]) -> Outcome {
    let url = server.url();
    run_at(home, variables, &[&[("aws.endpoint", url.as_str())], options].concat())
}

/// As `run`, at whatever the options or the variables name.
fn run_at(home: &Path, variables: &[(&str, &str)], options: &[(&str, &str)]) -> Outcome {
    let set = [("HOME", home.to_str().expect("a path of text"))];
    let mut place = Place::default();
    let unless_instance = [("AWS_EC2_METADATA_DISABLED", "true")].into_iter();
    let unless_instance = unless_instance.filter(|_| variables.iter().all(|(name, _)| !name.contains("EC2")));
    for (name, value) in set.into_iter().chain(unless_instance).chain(variables.iter().copied()) {
        place.variables.insert(name.to_owned(), value.to_owned());
    }
    let options: String = options.iter().map(|(key, value)| format!(", '{key}' = '{value}'")).collect();
    place.thalweg(&[
        "run",
        "-e",
        &format!(
            "CREATE TABLE t (n BIGINT) WITH ('connector' = 'kinesis', 'stream' = 'clicks', 'aws.region' = 'us-east-1',
               'format' = 'json'{options});
             SELECT n FROM t;"
        ),
    ])
}

#[test]
fn credentials_are_found_as_aws_s_tools_find_them_or_named() {
    let server = Server::start();
    let directory = tempfile::tempdir().expect("a directory");
    let home = directory.path();
    fill_home(home);
    let url = server.url();
    let (token, others) = (home.join("token").display().to_string(), home.join("others").display().to_string());
    let container = format!("{url}/container");
    let keys = [("AWS_ACCESS_KEY_ID", "AKIAENV"), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    let with_sts = |profile| [("AWS_PROFILE", profile), ("AWS_ENDPOINT_URL_STS", url.as_str())];
    let web = [
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()),
        ("AWS_ENDPOINT_URL_STS", url.as_str()),
    ];
    let sso = [("AWS_PROFILE", "single-sign-on"), ("AWS_ENDPOINT_URL_SSO", url.as_str())];
    let by = |provider| ("aws.credentials.provider", provider);
    let (role, sts) = (("aws.credentials.role.arn", ROLE), ("aws.credentials.role.stsEndpoint", url.as_str()));
    let external = ("aws.credentials.role.externalId", "other");
    let (file, named) =
        (("aws.credentials.profile.path", others.as_str()), ("aws.credentials.profile.name", "elsewhere"));
    let own_token = ("aws.credentials.webIdentityToken.file", token.as_str());
    for (variables, options, others_asked, key) in [
        (&keys[..], &[][..], &[][..], "AKIAENV"),
        (&keys, &[by("ENV_VAR")], &[], "AKIAENV"),
        (&[("AWS_PROFILE", "work")], &[], &[], "AKIAWORK"),
        (&keys, &[by("PROFILE"), ("aws.credentials.profile.name", "work")], &[], "AKIAWORK"),
        (&[], &[by("PROFILE"), named, file], &[], "AKIAELSEWHERE"),
        (&with_sts("with-role"), &[], &["AssumeRole by AKIAWORK"], "ASIAROLE"),
        (&sso, &[], &["/federation/credentials?role_name=reader&account_id=123456789012"], "ASIASSO"),
        (&web, &[], &["/"], "ASIAWEB"),
        (&web[2..], &[by("WEB_IDENTITY_TOKEN"), role, own_token], &["/"], "ASIAWEB"),
        (&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", container.as_str())], &[], &["/container"], "ASIACONTAINER"),
        (&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.as_str())], &[], &["/latest/api/token"], "ASIAINSTANCE"),
        (&keys, &[by("ASSUME_ROLE"), role, sts, external], &["AssumeRole by AKIAENV as other"], "ASIAROLE"),
    ] {
        let refused = run(&server, home, variables, options);
        let asked = server.take_asked();
        let what = format!("{variables:?}, {options:?}: {asked:?}: {refused:?}");
        assert_eq!(refused.code, Some(1), "{what}");
        assert!(refused.stderr.contains("there is no stream 'clicks'"), "{what}");
        assert_eq!(asked.last().map(String::as_str), Some(key), "{what}");
        others_asked.iter().for_each(|other| assert!(asked.iter().any(|asked| asked == other), "{other}: {what}"));
        assert!(!refused.stderr.contains(SECRET) && !refused.stdout.contains(SECRET), "{what}");
    }
}

#[test]
fn whoever_has_no_credentials_is_told_where_they_were_looked_for() {
    let server = Server::start();
    let home = tempfile::tempdir().expect("a directory");
    let refused = run(&server, home.path(), &[], &[]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for told in ["stream 'clicks'", "'aws.credentials.*'", "no credentials of AWS", "environment, profiles"] {
        assert!(refused.stderr.contains(told), "{told}: {refused:?}");
    }
    assert_eq!(server.take_asked(), [""; 0], "nobody is asked without");
}

/// Whoever may submit a job chooses the file; whoever runs the node has written its own.
#[test]
fn a_program_is_run_for_profiles_of_the_node_alone() {
    let server = Server::start();
    let directory = tempfile::tempdir().expect("a directory");
    let home = directory.path();
    let (ran, named, program) = (home.join("ran"), home.join("named"), home.join("program"));
    let keys = format!(r#"{{"Version":1,"AccessKeyId":"AKIAPROGRAM","SecretAccessKey":"{SECRET}"}}"#);
    fs::write(&program, format!("#!/bin/sh\necho ran >>'{}'\necho '{keys}'\n", ran.display())).expect("a file");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it can be run");
    let profile = format!("credential_process = {}\n", program.display());
    fs::write(&named, format!("[work]\naws_access_key_id = AKIA\n[tool]\n{profile}")).expect("a file");
    let path = named.display().to_string();
    let of = |name| [("aws.credentials.provider", "PROFILE"), ("aws.credentials.profile.name", name)];
    for name in ["tool", "work"] {
        let refused = run(&server, home, &[], &[&of(name)[..], &[("aws.credentials.profile.path", &path)]].concat());
        assert_eq!(refused.code, Some(1), "{refused:?}");
        // A name that the table gives is not shown.
        let told =
            [format!("the profiles of {path}: profile '"), "has a credential_process, and no program".to_owned()];
        assert!(told.iter().all(|told| refused.stderr.contains(told)), "{refused:?}");
        assert!(!ran.exists() && server.take_asked().is_empty(), "{refused:?}");
    }
    fs::create_dir_all(home.join(".aws")).expect("a folder");
    fs::write(home.join(".aws/config"), format!("[profile tool]\n{profile}")).expect("a file");
    let own = run(&server, home, &[], &of("tool"));
    assert_eq!(server.take_asked(), ["AKIAPROGRAM"], "{own:?}");
    assert!(ran.exists() && !own.stderr.contains(SECRET), "{own:?}");
}

/// A node's variables and profiles may lead elsewhere than a table says.
#[test]
fn whoever_is_asked_elsewhere_is_named() {
    let server = Server::start();
    let directory = tempfile::tempdir().expect("a directory");
    let home = directory.path();
    let url = server.url();
    // Nobody listens at port 1.
    let nowhere = "http://127.0.0.1:1";
    let keys = [("AWS_ACCESS_KEY_ID", "AKIAENV"), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    fs::create_dir_all(home.join(".aws")).expect("a folder");
    fs::write(home.join(".aws/config"), format!("[profile away]\nendpoint_url = {url}\n")).expect("a file");
    for (variables, at) in [
        (&[("AWS_ENDPOINT_URL", url.as_str())][..], "AWS_ENDPOINT_URL"),
        (&[("AWS_ENDPOINT_URL", nowhere), ("AWS_ENDPOINT_URL_KINESIS", &url)], "AWS_ENDPOINT_URL_KINESIS"),
        (&[("AWS_PROFILE", "away")], "endpoint_url of the node's profile"),
    ] {
        let refused = run_at(home, &[&keys[..], variables].concat(), &[]);
        let told = format!("there is no stream 'clicks' at {url} ({at})");
        assert!(refused.code == Some(1) && refused.stderr.contains(&told), "{told}: {refused:?}");
        assert_eq!(server.take_asked(), ["AKIAENV"], "{refused:?}");
    }
    let away = [("AWS_ENDPOINT_URL_KINESIS", nowhere)];
    let refused = run_at(home, &[&keys[..], &away].concat(), &[]);
    let told = format!("stream 'clicks' cannot be asked for at {nowhere} (AWS_ENDPOINT_URL_KINESIS)");
    assert!(refused.code == Some(1) && refused.stderr.contains(&told), "{refused:?}");
    let named = run_at(home, &[&keys[..], &away].concat(), &[("aws.endpoint", &url)]);
    let told = format!("there is no stream 'clicks' at {url} ('aws.endpoint')");
    assert!(named.stderr.contains(&told), "a table's own counts: {named:?}");
}
