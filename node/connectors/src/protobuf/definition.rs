//! Where the definition of a message comes from.
//!
//! Texts may come from anybody: they have a bound, and so has the nesting of their brackets, which compilers follow.

use std::{
    collections::BTreeMap,
    io::Read as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use prost_reflect::{DescriptorPool, FileDescriptor, MessageDescriptor};
use protox::{
    Compiler, Error,
    file::{ChainFileResolver, File, FileResolver, GoogleFileResolver},
};
use thalweg_storage::local_path;

use crate::allowed::AllowedPaths;

/// The longest definition, in bytes.
const DEFINITION_BYTES_MAX: u64 = 16 << 20;
/// The deepest nesting of brackets.
const DEPTH_MAX: i32 = 100;
/// The name of a text that is in no file, in errors.
const OWN: &str = "the definition";

/// Messages that are defined together.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    /// Those that a table can name.
    messages: Vec<MessageDescriptor>,
}

impl Definition {
    fn of_file(file: &FileDescriptor) -> Self {
        Self { messages: file.messages().collect() }
    }

    /// The message of this full name; without a name, the only one.
    pub(crate) fn message(&self, name: Option<&str>) -> Result<MessageDescriptor, String> {
        let Some(name) = name else {
            return match self.messages.as_slice() {
                [only] => Ok(only.clone()),
                [] => Err("the definition has no message".to_owned()),
                _ => Err(format!("the definition has several messages: {}", self.names())),
            };
        };
        let pool = self.messages.first().map(MessageDescriptor::parent_pool);
        let found = pool.and_then(|pool| pool.get_message_by_name(name));
        found.ok_or_else(|| format!("the definition has no message {name}; it has {}", self.names()))
    }

    /// The message at a path: the index of a message of the file, then of one within it, and so on.
    pub(crate) fn message_at(&self, path: &[usize]) -> Option<MessageDescriptor> {
        let (first, rest) = path.split_first()?;
        let outer = self.messages.get(*first)?.clone();
        rest.iter().try_fold(outer, |outer, index| outer.child_messages().nth(*index))
    }

    /// The first message of the file.
    pub(crate) fn first(&self) -> Result<MessageDescriptor, String> {
        self.messages.first().cloned().ok_or_else(|| "the definition has no message".to_owned())
    }

    fn names(&self) -> String {
        const SHOWN: usize = 20;
        let names: Vec<&str> = self.messages.iter().take(SHOWN).map(MessageDescriptor::full_name).collect();
        let more = if self.messages.len() > SHOWN { ", …" } else { "" };
        format!("{}{more}", names.join(", "))
    }
}

/// The path of a message in its file, as `message_at` takes it.
pub(crate) fn path_of(message: &MessageDescriptor) -> Vec<usize> {
    // Numbers of fields and indexes take turns.
    let indexes = message.path().iter().skip(1).step_by(2);
    indexes.map(|index| usize::try_from(*index).unwrap_or(0)).collect()
}

/// The definition in a text. `imports` are the texts of files that it may import, by the names in `import`.
pub(crate) fn compile_text(text: &str, imports: BTreeMap<String, String>) -> Result<Definition, String> {
    let mut files = imports;
    files.insert(OWN.to_owned(), text.to_owned());
    compile(OWN, Texts(files))
}

/// The definition in a file on this node; imports lie below its directory.
pub(crate) fn compile_file(path: &str, allowed: &AllowedPaths) -> Result<Definition, String> {
    let local = local_path(path).ok_or("it must be a local path")?;
    let name = local.file_name().and_then(|name| name.to_str()).ok_or("it names no file")?.to_owned();
    let directory = local.parent().map(Path::to_owned).unwrap_or_default();
    compile(&name, Directory { directory, allowed: allowed.clone() })
}

/// The definitions in a FileDescriptorSet on this node.
pub(crate) fn read_set(path: &str, allowed: &AllowedPaths) -> Result<Definition, String> {
    let local = local_path(path).ok_or("it must be a local path")?;
    let bytes = read_file(&local, allowed)?;
    let pool =
        DescriptorPool::decode(bytes.as_slice()).map_err(|error| format!("it is no FileDescriptorSet: {error}"))?;
    let is_own = |file: &FileDescriptor| !file.name().starts_with("google/protobuf/");
    let messages = pool.files().filter(is_own).flat_map(|file| file.messages().collect::<Vec<_>>()).collect();
    Ok(Definition { messages })
}

fn compile(name: &str, resolver: impl FileResolver + 'static) -> Result<Definition, String> {
    let compiled = catch_unwind(AssertUnwindSafe(|| {
        let mut files = ChainFileResolver::new();
        files.add(resolver);
        files.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(files);
        compiler.open_file(name).map_err(|error| text_of(&error))?;
        let pool = compiler.descriptor_pool();
        let file = pool.get_file_by_name(name).ok_or("the compiler lost the file")?;
        Ok(Definition::of_file(&file))
    }));
    compiled.unwrap_or_else(|_| Err("the definition cannot be understood".to_owned()))
}

/// An error with its causes, and where it is.
fn text_of(error: &Error) -> String {
    let text = thalweg_types::text::with_causes(error);
    match error.file() {
        Some(file) if !text.contains(file) => format!("{file}: {text}"),
        _ => text,
    }
}

/// Texts by the names of their files.
struct Texts(BTreeMap<String, String>);

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> Result<File, Error> {
        let text = self.0.get(name).ok_or_else(|| Error::file_not_found(name))?;
        parse(name, text)
    }
}

/// Files below a directory.
struct Directory {
    directory: PathBuf,
    allowed: AllowedPaths,
}

impl FileResolver for Directory {
    fn open_file(&self, name: &str) -> Result<File, Error> {
        let read = read_file(&self.directory.join(name), &self.allowed);
        // What is not here may be one of Google's own.
        let is_known = name.starts_with("google/protobuf/");
        let bytes = read.map_err(|reason| if is_known { Error::file_not_found(name) } else { Error::new(reason) })?;
        let text = String::from_utf8(bytes).map_err(|_| Error::new(format!("{name} is not valid UTF-8")))?;
        parse(name, &text)
    }
}

fn parse(name: &str, text: &str) -> Result<File, Error> {
    check(text).map_err(Error::new)?;
    File::from_source(name, text)
}

/// Refuses a text that is too long, or whose brackets are nested too deeply.
fn check(text: &str) -> Result<(), String> {
    if text.len() as u64 > DEFINITION_BYTES_MAX {
        return Err(format!("the definition is longer than {DEFINITION_BYTES_MAX} bytes"));
    }
    let mut depth = 0;
    for byte in text.bytes() {
        match byte {
            b'{' | b'[' | b'(' | b'<' => depth += 1,
            b'}' | b']' | b')' | b'>' => depth -= 1,
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(format!("the definition's brackets are nested deeper than {DEPTH_MAX} levels"));
        }
    }
    Ok(())
}

fn read_file(path: &Path, allowed: &AllowedPaths) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let file = allowed.check_local(path).map_err(|error| error.to_string())?.open().map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(DEFINITION_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > DEFINITION_BYTES_MAX {
        return Err(format!("{} is longer than {DEFINITION_BYTES_MAX} bytes", path.display()));
    }
    Ok(bytes)
}
