//! An authority, a broker's certificate and a client's, made by `openssl` for one test. Nobody's secret is among them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// Files in PEM, which are removed with this.
#[derive(Debug)]
pub struct Certificates {
    directory: TempDir,
}

impl Certificates {
    /// Makes them. If `openssl` is not installed, says so and returns `None`.
    ///
    /// # Panics
    /// If that fails.
    #[must_use]
    pub fn make() -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            eprintln!("skipped: openssl is not installed");
            return None;
        }
        let made = Self { directory: TempDir::new().expect("a temporary directory") };
        made.authority("ca");
        made.signed("broker", "subjectAltName=DNS:localhost,IP:127.0.0.1");
        made.signed("client", "extendedKeyUsage=clientAuth");
        // Another authority, which has signed nothing.
        made.authority("other");
        Some(made)
    }

    /// The certificate of the authority that has signed the others.
    #[must_use]
    pub fn authority_file(&self) -> String {
        self.file("ca.crt")
    }

    /// The certificate of an authority that has signed nothing.
    #[must_use]
    pub fn other_authority_file(&self) -> String {
        self.file("other.crt")
    }

    /// The client's certificate.
    #[must_use]
    pub fn client_file(&self) -> String {
        self.file("client.crt")
    }

    /// The client's key.
    #[must_use]
    pub fn client_key_file(&self) -> String {
        self.file("client.key")
    }

    /// Settings of a listener with the broker's certificate. If it asks clients for theirs, the authority must have signed them.
    ///
    /// # Panics
    /// If the files cannot be read.
    #[must_use]
    pub fn listener_settings(&self, asks_clients: bool) -> Vec<(String, String)> {
        let store = self.path("broker.pem");
        let read = |name: &str| fs::read_to_string(self.path(name)).expect("it was made");
        fs::write(&store, read("broker.key") + &read("broker.crt")).expect("the keystore is written");
        let settings = [
            ("ssl.keystore.type", "PEM".to_owned()),
            ("ssl.keystore.location", store.display().to_string()),
            ("ssl.truststore.type", "PEM".to_owned()),
            ("ssl.truststore.location", self.authority_file()),
            ("ssl.client.auth", if asks_clients { "required" } else { "none" }.to_owned()),
        ];
        settings.map(|(key, value)| (key.to_owned(), value)).to_vec()
    }

    /// An authority that signs itself.
    fn authority(&self, name: &str) {
        self.key(name);
        let subject = format!("/CN={name} of a test");
        self.openssl(
            &["req", "-x509", "-new", "-sha256", "-days", "2", "-subj", &subject],
            &[("-key", &format!("{name}.key")), ("-out", &format!("{name}.crt"))],
        );
    }

    /// A certificate that the authority signs.
    fn signed(&self, name: &str, extension: &str) {
        self.key(name);
        fs::write(self.path("extensions"), extension).expect("the extensions are written");
        let subject = format!("/CN={name}");
        self.openssl(
            &["req", "-new", "-sha256", "-subj", &subject],
            &[("-key", &format!("{name}.key")), ("-out", &format!("{name}.csr"))],
        );
        self.openssl(
            &["x509", "-req", "-sha256", "-days", "2", "-CAcreateserial"],
            &[
                ("-in", &format!("{name}.csr")),
                ("-CA", "ca.crt"),
                ("-CAkey", "ca.key"),
                ("-extfile", "extensions"),
                ("-out", &format!("{name}.crt")),
            ],
        );
    }

    fn key(&self, name: &str) {
        let file = format!("{name}.key");
        self.openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], &[("-out", &file)]);
    }

    /// Runs `openssl`, with names of files here.
    fn openssl(&self, arguments: &[&str], files: &[(&str, &str)]) {
        let mut command = Command::new("openssl");
        command.args(arguments);
        for (flag, name) in files {
            command.arg(flag).arg(self.path(name));
        }
        let ran = command.output().expect("openssl runs");
        assert!(ran.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    }

    fn file(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.directory.path()).join(name)
    }
}
