//! `ROW_NUMBER()`: a BIGINT, as in Flink, so that it can be negated and subtracted.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::Result;
use datafusion_expr::{
    PartitionEvaluator, Signature, WindowUDF, WindowUDFImpl,
    function::{PartitionEvaluatorArgs, WindowUDFFieldArgs},
};

/// `ROW_NUMBER`.
#[must_use]
pub fn function() -> WindowUDF {
    WindowUDF::from(RowNumber { plain: datafusion_functions_window::row_number::row_number_udwf() })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RowNumber {
    plain: Arc<WindowUDF>,
}

impl WindowUDFImpl for RowNumber {
    fn name(&self) -> &str {
        self.plain.name()
    }

    fn signature(&self) -> &Signature {
        self.plain.signature()
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        self.plain.partition_evaluator_factory(args)
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), DataType::Int64, false)))
    }
}
