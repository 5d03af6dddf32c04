//! A schema registry in memory, and one that says what a test wants.

use std::{collections::VecDeque, sync::Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::http_client::{HttpAnswer, HttpClient, HttpMethod, HttpRequest};

/// What a registry keeps.
#[derive(Debug, Default)]
pub(super) struct Server {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Schemas by their ids, from 1.
    schemas: Vec<Value>,
    /// Schemas that others refer to: the path below `subjects`, and the answer.
    referred: Vec<(String, Value)>,
    /// Before all else: these statuses, or no answer where it is 0, with these bodies.
    script: VecDeque<(u16, String)>,
    /// Method, path, and the credentials of each request.
    asked: Vec<(HttpMethod, String, Option<String>)>,
    /// The bodies of what was registered.
    registered: Vec<String>,
}

impl Server {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panics")
    }

    /// Keeps a schema as it would be answered; its id.
    pub(super) fn add(&self, schema: Value) -> u32 {
        let mut state = self.state();
        state.schemas.push(schema);
        u32::try_from(state.schemas.len()).expect("few")
    }

    pub(super) fn refer(&self, subject: &str, version: i64, schema: Value) {
        self.state().referred.push((format!("{subject}/versions/{version}"), schema));
    }

    /// What the next requests get.
    pub(super) fn script(&self, answers: impl IntoIterator<Item = (u16, &'static str)>) {
        self.state().script.extend(answers.into_iter().map(|(status, body)| (status, body.to_owned())));
    }

    pub(super) fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked).into_iter().map(|(_, path, _)| path).collect()
    }

    pub(super) fn credentials(&self) -> Option<String> {
        self.state().asked.last().and_then(|(_, _, credentials)| credentials.clone())
    }

    pub(super) fn registered(&self) -> Vec<String> {
        self.state().registered.clone()
    }
}

impl State {
    fn answer(&mut self, request: &HttpRequest, path: &str) -> (u16, Value) {
        let parts: Vec<&str> = path.split('/').collect();
        match (request.method, parts.as_slice()) {
            (HttpMethod::Get, ["schemas", "ids", id]) => {
                let known = id.parse::<usize>().ok().and_then(|id| self.schemas.get(id.wrapping_sub(1)));
                match known {
                    Some(schema) => (200, schema.clone()),
                    None => (404, json!({ "error_code": 40403, "message": "Schema not found" })),
                }
            }
            (HttpMethod::Get, ["subjects", rest @ ..]) => {
                let wanted = rest.join("/");
                let known = self.referred.iter().find(|(path, _)| *path == wanted);
                known.map_or((404, json!({ "error_code": 40401 })), |(_, schema)| (200, schema.clone()))
            }
            (HttpMethod::Post, ["subjects", _, "versions"]) => {
                let body: Value = serde_json::from_slice(&request.body).expect("JSON");
                self.registered.push(body.to_string());
                let known = self.schemas.iter().position(|schema| *schema == body);
                let at = known.unwrap_or_else(|| {
                    self.schemas.push(body);
                    self.schemas.len() - 1
                });
                (200, json!({ "id": at + 1 }))
            }
            _ => (405, json!({ "error_code": 405 })),
        }
    }
}

#[async_trait]
impl HttpClient for Server {
    async fn send(&self, request: HttpRequest) -> Result<HttpAnswer, Box<dyn std::error::Error + Send + Sync>> {
        let mut state = self.state();
        let url = url::Url::parse(&request.url)?;
        let path = url.path().trim_start_matches('/').to_owned();
        let header =
            |name: &str| request.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        state.asked.push((request.method, path.clone(), header("authorization")));
        let (status, body) = match state.script.pop_front() {
            Some((0, reason)) => return Err(reason.into()),
            Some((status, body)) => (status, body),
            None => {
                let (status, body) = state.answer(&request, &path);
                (status, body.to_string())
            }
        };
        let is_cut = body.len() > request.answer_bytes_max;
        let body: String = body.chars().take(request.answer_bytes_max).collect();
        Ok(HttpAnswer { status, retry_after: None, body: body.into(), is_cut })
    }
}
