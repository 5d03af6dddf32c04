//! Tells what a store refuses until somebody changes something from what may work later.

use std::{error::Error, io};

use object_store::Error as StoreError;

const NO_CREDENTIALS: &str = "there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the variables of your store's own tools";
const NO_TLS: &str =
    "its endpoint is http://, which is not allowed; set AWS_ALLOW_HTTP=true (or AZURE_ALLOW_HTTP, GOOGLE_ALLOW_HTTP)";
const NO_BUCKET: &str = "there is no such bucket; create it, or correct the URL";
const OTHER_REGION: &str = "the bucket is in another region; set AWS_REGION to its own";
const NO_ACCESS: &str = "access is denied; check the credentials (AWS_ACCESS_KEY_ID, ..) and what they may do there";

/// Texts in stores' errors, and what to do about them. The errors have no kinds for these.
const TEXTS: &[(&[&str], &str)] = &[
    (&["scheme is not allowed", "URL scheme is not allowed"], NO_TLS),
    (&["NoSuchBucket", "specified bucket does not exist", "ContainerNotFound"], NO_BUCKET),
    (
        &[
            "redirect without LOCATION",
            "PermanentRedirect",
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraint",
        ],
        OTHER_REGION,
    ),
    (&["InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "AccountIsDisabled"], NO_ACCESS),
    // The addresses where machines in clouds ask for credentials. Elsewhere nobody answers there.
    (&["169.254.169.254", "metadata.google.internal", "169.254.170.2"], NO_CREDENTIALS),
];

/// What to change, if the store would refuse the same again; `None` if it may work later.
#[must_use]
pub fn refusal(error: &(dyn Error + 'static)) -> Option<String> {
    let chain = || causes(error);
    let texts: Vec<String> = chain().map(ToString::to_string).collect();
    let says = |words: &[&str]| words.iter().any(|word| texts.iter().any(|text| text.contains(word)));
    if chain().any(|error| error.downcast_ref::<StoreError>().is_some())
        && let Some((_, advice)) = TEXTS.iter().find(|(words, _)| says(words))
    {
        return Some((*advice).to_owned());
    }
    chain().find_map(|error| match (error.downcast_ref::<StoreError>(), error.downcast_ref::<io::Error>()) {
        (Some(error), _) => of_store(error),
        (_, Some(error)) => of_file_system(error.kind()),
        _ => None,
    })
}

/// An error and its causes.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

fn of_store(error: &StoreError) -> Option<String> {
    Some(match error {
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => NO_ACCESS.to_owned(),
        StoreError::NotFound { .. } => "it is not there".to_owned(),
        StoreError::InvalidPath { .. } => "no object can have such a name".to_owned(),
        StoreError::NotSupported { .. } | StoreError::NotImplemented { .. } => "the store cannot do it".to_owned(),
        StoreError::UnknownConfigurationKey { .. } => "a variable that configures it is unknown".to_owned(),
        _ => return None,
    })
}

fn of_file_system(kind: io::ErrorKind) -> Option<String> {
    use io::ErrorKind;
    let advice = match kind {
        ErrorKind::PermissionDenied => "this process may not; change the permissions, or use another place",
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only; use another place",
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => "a file is where a directory should be",
        ErrorKind::IsADirectory => "a directory is where a file should be",
        ErrorKind::InvalidFilename => "no file can have such a name",
        _ => return None,
    };
    Some(advice.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: impl Error + 'static, expected: Option<&str>) {
        let found = refusal(&error);
        match expected {
            None => assert_eq!(found, None, "{error}"),
            Some(word) => assert!(found.as_ref().is_some_and(|advice| advice.contains(word)), "{error}: {found:?}"),
        }
    }

    fn generic(text: &'static str) -> StoreError {
        StoreError::Generic { store: "S3", source: text.into() }
    }

    #[test]
    fn what_a_store_refuses_for_good_comes_with_what_to_change() {
        let path = || "x".to_owned();
        check(StoreError::Unauthenticated { path: path(), source: "no".into() }, Some("AWS_ACCESS_KEY_ID"));
        check(StoreError::PermissionDenied { path: path(), source: "no".into() }, Some("access is denied"));
        check(StoreError::NotFound { path: path(), source: "<Code>NoSuchBucket</Code>".into() }, Some("bucket"));
        check(generic("error sending request for url (http://169.254.169.254/latest/api/token)"), Some("AWS_SECRET"));
        check(generic("builder error for url (http://x): URL scheme is not allowed"), Some("AWS_ALLOW_HTTP"));
        check(generic("Received redirect without LOCATION"), Some("AWS_REGION"));
        check(generic("timeout"), None);
    }

    #[test]
    fn what_a_file_system_refuses_for_good_comes_with_what_to_change() {
        check(io::Error::from(io::ErrorKind::PermissionDenied), Some("permissions"));
        check(io::Error::from(io::ErrorKind::ReadOnlyFilesystem), Some("read-only"));
        check(io::Error::from(io::ErrorKind::NotADirectory), Some("directory"));
        check(
            StoreError::Generic {
                store: "directory",
                source: Box::new(io::Error::from(io::ErrorKind::PermissionDenied)),
            },
            Some("permissions"),
        );
        check(io::Error::from(io::ErrorKind::StorageFull), None);
        check(io::Error::from(io::ErrorKind::ConnectionReset), None);
        check(
            StoreError::Generic { store: "directory", source: Box::new(io::Error::from(io::ErrorKind::StorageFull)) },
            None,
        );
    }
}
