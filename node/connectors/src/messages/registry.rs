//! Asks a schema registry, by Confluent's REST API.
//!
//! | asked | answer |
//! |---|---|
//! | `GET /schemas/ids/{id}` | the schema that was registered as that, with references to others |
//! | `GET /subjects/{subject}/versions/{version}` | a schema that another refers to |
//! | `POST /subjects/{subject}/versions` | the id of a schema: a new one, or the one that it has |
//!
//! No answer, or one that says *later*, is asked for again, at each address in turn and with growing delays; then it is an error of
//! the store, and the attempt begins anew. Ids are never reused, so what was answered once holds for ever.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use serde_json::json;
use thalweg_types::{connector::no_http, seam::Clock};
use url::Url;

use super::view::FormatView;
use crate::{
    ConnectorContext, ConnectorError,
    http_client::{HttpAnswer, HttpClient, HttpMethod, HttpRequest},
    json::text::write_base64,
};

const TIMEOUT: Duration = Duration::from_secs(10);
/// How long it is asked without an answer.
const OUTAGE: Duration = Duration::from_secs(15);
/// A question that was not answered is of another outage if the last one was asked this long ago.
const FORGOTTEN: Duration = Duration::from_secs(60);
const FIRST_DELAY: Duration = Duration::from_millis(200);
const DELAY_MAX: Duration = Duration::from_secs(5);
/// The longest answer.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// The most schemas that one may refer to, all in all.
const REFERENCES_MAX: usize = 100;
const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// A registry's own code in a 404 for an id that it does not know.
const UNKNOWN_SCHEMA: u32 = 40_403;

/// A schema registry. Not to be shown: it has credentials.
pub(super) struct Registry {
    http: Arc<dyn HttpClient>,
    addresses: Vec<Url>,
    authorization: Option<String>,
    /// The option that has them.
    user_info: String,
    clock: Arc<dyn Clock>,
    /// `None`: it answered the last question.
    silence: Mutex<Option<Silence>>,
}

/// A time without answers, from the first question to the last one.
#[derive(Debug, Clone, Copy)]
struct Silence {
    since: Duration,
    last: Duration,
}

/// What a schema is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Avro,
    Protobuf,
    /// JSON Schema, or one that this engine does not know.
    Other,
}

/// A schema as a registry has it.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) language: Language,
    pub(super) schema: String,
    /// Names and texts of the schemas that it refers to, each behind those that it refers to itself.
    pub(super) references: Vec<(String, String)>,
}

/// What a registry says of an id.
#[derive(Debug)]
pub(super) enum Lookup {
    Found(Registered),
    /// There is no such schema, or not yet; or none that it refers to.
    Unknown(String),
    /// There is one, and it is of no use.
    Unusable(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SchemaAnswer {
    schema: String,
    schema_type: Option<String>,
    #[serde(default)]
    references: Option<Vec<Reference>>,
}

#[derive(Deserialize)]
struct Reference {
    name: String,
    subject: String,
    version: i64,
}

#[derive(Deserialize)]
struct Refusal {
    error_code: u32,
    message: Option<String>,
}

#[derive(Deserialize)]
struct RegisteredAnswer {
    id: u32,
}

/// A subject and a version of it.
type Version = (String, i64);

/// A schema that another refers to, with those that it refers to itself.
struct Referred {
    name: String,
    schema: String,
    uses: Vec<Version>,
}

impl Registry {
    /// The registry of a part's format.
    ///
    /// # Errors
    /// If an address is none.
    pub(super) fn open(view: &FormatView, context: &ConnectorContext) -> Result<Self, ConnectorError> {
        let options = view.options();
        let key = format!("{}.url", view.name());
        let user_info = format!("{}.basic-auth.user-info", view.name());
        let mut credentials = options.text(&user_info).map(str::to_owned);
        let mut addresses = Vec::new();
        for text in options.required(&key)?.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            let address =
                Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
            // Not shown: it may hold a password.
            let mut address = address.ok_or_else(|| {
                let reason = no_http(text).unwrap_or_else(|| "expected http://HOST:PORT".to_owned());
                options.error(format!("option '{key}': {reason}"))
            })?;
            if let Some(password) = address.password() {
                credentials.get_or_insert(format!("{}:{password}", address.username()));
            }
            // Such an address can have them, so they can be taken away.
            let _ = address.set_username("");
            let _ = address.set_password(None);
            addresses.push(address);
        }
        if addresses.is_empty() {
            return Err(options.error(format!("option '{key}' has no address")));
        }
        let authorization = credentials.map(|credentials| {
            let mut encoded = b"Basic ".to_vec();
            write_base64(credentials.as_bytes(), &mut encoded);
            String::from_utf8_lossy(&encoded).into_owned()
        });
        Ok(Self {
            http: context.http.clone(),
            addresses,
            authorization,
            user_info,
            clock: context.seams.clock.clone(),
            silence: Mutex::new(None),
        })
    }

    /// The schema of an id.
    ///
    /// # Errors
    /// If the registry does not answer; if it refuses to.
    pub(super) async fn schema(&self, id: u32) -> Result<Lookup, ConnectorError> {
        let what = format!("schema {id}");
        let answer = self.ask(&what, &["schemas", "ids", &id.to_string()], None).await?;
        if answer.status == 404 {
            return match serde_json::from_slice::<Refusal>(&answer.body) {
                Ok(refusal) if refusal.error_code == UNKNOWN_SCHEMA => {
                    Ok(Lookup::Unknown(format!("the schema registry does not know schema {id}")))
                }
                // A wrong address must not make dead letters of all messages.
                Ok(_) | Err(_) => Err(self.unexpected(&what, &answer)),
            };
        }
        if answer.is_cut {
            return Ok(Lookup::Unusable(format!("schema {id} is longer than {ANSWER_BYTES_MAX} bytes")));
        }
        let found: SchemaAnswer = self.parsed(&what, &answer)?;
        let language = match found.schema_type.as_deref() {
            None | Some("AVRO") => Language::Avro,
            Some("PROTOBUF") => Language::Protobuf,
            Some(_) => Language::Other,
        };
        Ok(match self.references(id, found.references.unwrap_or_default()).await? {
            Ok(references) => Lookup::Found(Registered { language, schema: found.schema, references }),
            Err(lookup) => lookup,
        })
    }

    /// The schemas that a schema refers to, and so on; the inner error is that of the whole, if one of them is not known yet or of no use.
    async fn references(
        &self,
        id: u32,
        of_schema: Vec<Reference>,
    ) -> Result<Result<Vec<(String, String)>, Lookup>, ConnectorError> {
        let mut found: BTreeMap<Version, Referred> = BTreeMap::new();
        let roots: Vec<Version> = of_schema.iter().map(version_of).collect();
        let mut pending = of_schema;
        while let Some(reference) = pending.pop() {
            let version = version_of(&reference);
            if found.contains_key(&version) {
                continue;
            }
            if found.len() == REFERENCES_MAX {
                let reason = format!("schema {id} refers to more than {REFERENCES_MAX} others");
                return Ok(Err(Lookup::Unusable(reason)));
            }
            let Reference { name, subject, version: number } = reference;
            let what = format!("version {number} of subject {subject}");
            let path = ["subjects", &subject, "versions", &number.to_string()];
            let answer = self.ask(&what, &path, None).await?;
            let refers = |why: &str| format!("schema {id} refers to {what}, which is {why}");
            if answer.status == 404 {
                // A registry of several servers may tell of the schema before it tells of this.
                return Ok(Err(Lookup::Unknown(refers("not known"))));
            }
            if answer.is_cut {
                return Ok(Err(Lookup::Unusable(refers("too long"))));
            }
            let referred: SchemaAnswer = self.parsed(&what, &answer)?;
            let further = referred.references.unwrap_or_default();
            let uses = further.iter().map(version_of).collect();
            found.insert(version, Referred { name, schema: referred.schema, uses });
            pending.extend(further);
        }
        let mut ordered = Vec::new();
        let mut seen = BTreeSet::new();
        roots.iter().for_each(|root| order(root, &found, &mut seen, &mut ordered));
        Ok(Ok(ordered))
    }

    /// Registers a schema under a subject; its id.
    ///
    /// # Errors
    /// If the registry does not answer; if it refuses the schema.
    pub(super) async fn register(
        &self,
        subject: &str,
        schema: &str,
        language: Language,
    ) -> Result<u32, ConnectorError> {
        let what = format!("the id of the schema of subject {subject}");
        let body = match language {
            Language::Avro | Language::Other => json!({ "schema": schema }),
            Language::Protobuf => json!({ "schema": schema, "schemaType": "PROTOBUF" }),
        };
        let answer = self.ask(&what, &["subjects", subject, "versions"], Some(body.to_string())).await?;
        let registered: RegisteredAnswer = self.parsed(&what, &answer)?;
        Ok(registered.id)
    }

    /// Asks until there is an answer.
    async fn ask(&self, what: &str, path: &[&str], body: Option<String>) -> Result<HttpAnswer, ConnectorError> {
        let mut delay = FIRST_DELAY;
        loop {
            let mut last: Box<dyn std::error::Error + Send + Sync> = "it has no address".into();
            for address in &self.addresses {
                let answer = match self.http.send(self.request(address, path, body.clone())).await {
                    Ok(answer) => answer,
                    Err(source) => {
                        last = source;
                        continue;
                    }
                };
                match answer.status {
                    408 | 429 | 500.. => {
                        last = said(&answer).into();
                        delay = delay.max(answer.retry_after.unwrap_or_default()).min(DELAY_MAX);
                    }
                    401 | 403 => {
                        return Err(ConnectorError::Refused {
                            attempted: self.attempted(what),
                            advice: format!("set '{}' to a user who may, as USER:PASSWORD", self.user_info),
                            source: said(&answer).into(),
                        });
                    }
                    _ => {
                        *self.silence() = None;
                        return Ok(answer);
                    }
                }
            }
            if self.is_silent_for_long() {
                return Err(ConnectorError::Store { attempted: self.attempted(what), source: last });
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(DELAY_MAX);
        }
    }

    /// Notes that nobody answered; whether that has gone on for so long that it is an outage. It is counted over calls, since one
    /// that is dropped must not begin the wait anew.
    fn is_silent_for_long(&self) -> bool {
        let now = self.clock.monotonic();
        let mut silence = self.silence();
        let since = silence.filter(|silence| now.saturating_sub(silence.last) <= FORGOTTEN);
        let since = since.map_or(now, |silence| silence.since);
        *silence = Some(Silence { since, last: now });
        now.saturating_sub(since) >= OUTAGE
    }

    fn silence(&self) -> MutexGuard<'_, Option<Silence>> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn request(&self, address: &Url, path: &[&str], body: Option<String>) -> HttpRequest {
        let mut url = address.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut headers = vec![("accept", format!("{CONTENT_TYPE}, application/json"))];
        headers.extend(self.authorization.clone().map(|value| ("authorization", value)));
        headers.extend(body.as_ref().map(|_| ("content-type", CONTENT_TYPE.to_owned())));
        HttpRequest {
            method: if body.is_some() { HttpMethod::Post } else { HttpMethod::Get },
            url: url.into(),
            headers,
            body: body.unwrap_or_default().into(),
            timeout: TIMEOUT,
            answer_bytes_max: ANSWER_BYTES_MAX,
        }
    }

    fn attempted(&self, what: &str) -> String {
        let addresses: Vec<&str> = self.addresses.iter().map(Url::as_str).collect();
        format!("ask the schema registry at {} for {what}", addresses.join(", "))
    }

    /// What an answer says that is not an error.
    fn parsed<'a, T: Deserialize<'a>>(&self, what: &str, answer: &'a HttpAnswer) -> Result<T, ConnectorError> {
        let parsed = match answer.status {
            200..300 => serde_json::from_slice(&answer.body).ok(),
            _ => None,
        };
        parsed.ok_or_else(|| self.unexpected(what, answer))
    }

    fn unexpected(&self, what: &str, answer: &HttpAnswer) -> ConnectorError {
        ConnectorError::Data { attempted: self.attempted(what), reason: said(answer) }
    }
}

fn version_of(reference: &Reference) -> Version {
    (reference.subject.clone(), reference.version)
}

/// Adds a schema behind those that it refers to. A circle is cut where it closes.
fn order(
    version: &Version,
    found: &BTreeMap<Version, Referred>,
    seen: &mut BTreeSet<Version>,
    ordered: &mut Vec<(String, String)>,
) {
    let Some(referred) = found.get(version) else { return };
    if seen.insert(version.clone()) {
        referred.uses.iter().for_each(|used| order(used, found, seen, ordered));
        ordered.push((referred.name.clone(), referred.schema.clone()));
    }
}

/// What an answer says, for errors. Only what is said as registries say it is shown: whoever else listens there may say what is none
/// of a user's business.
fn said(answer: &HttpAnswer) -> String {
    let refusal = serde_json::from_slice::<Refusal>(&answer.body).ok();
    let message = refusal.and_then(|refusal| refusal.message).map(|message| message.chars().take(500).collect());
    let otherwise = || match answer.status {
        300..400 => "it redirects to another server, or too many times, which is not followed",
        _ => "the answer is not one of a schema registry's",
    };
    format!("status {}: {}", answer.status, message.unwrap_or_else(|| otherwise().to_owned()))
}
