//! What the subtasks of one attempt have in common on a node, by source: a table's client, for example.

use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use thalweg_types::OperatorId;

use crate::ConnectorError;

/// What the subtasks of an attempt have in common on a node. Cheap to clone. It ends with its last clone; what it gave away
/// lives on with those who hold it.
#[derive(Clone, Default)]
pub struct CommonTables {
    tables: Arc<Mutex<BTreeMap<OperatorId, Arc<dyn Any + Send + Sync>>>>,
}

impl fmt::Debug for CommonTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CommonTables")
    }
}

impl CommonTables {
    /// What the subtasks of a source have in common; made by the first that asks.
    pub(crate) fn of<T: Any + Send + Sync>(
        &self,
        source: OperatorId,
        make: impl FnOnce() -> Result<T, ConnectorError>,
    ) -> Result<Arc<T>, ConnectorError> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Ok(known)) = tables.get(&source).map(|known| known.clone().downcast()) {
            return Ok(known);
        }
        let made = Arc::new(make()?);
        tables.insert(source, made.clone());
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subtasks_of_one_source_share_what_the_first_has_made() {
        let common = CommonTables::default();
        let number = |source, number: u32| *common.clone().of(OperatorId(source), || Ok(number)).expect("made");
        assert_eq!([number(1, 7), number(1, 8), number(2, 9)], [7, 7, 9]);
        let failed = || Err(ConnectorError::Config { table: "t".to_owned(), reason: "x".to_owned() });
        assert!(common.of::<u32>(OperatorId(3), failed).is_err());
        assert_eq!(number(3, 1), 1, "what failed is made anew");
    }
}
