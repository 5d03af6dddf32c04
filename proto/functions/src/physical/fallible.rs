//! Tells which expressions can fail for some rows. An unknown one can.

use std::sync::Arc;

use datafusion_physical_expr::{
    PhysicalExpr, ScalarFunctionExpr,
    expressions::{Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NegativeExpr, NotExpr},
};

use super::{
    branches::{Case, Coalesce},
    logic::Logic,
    operation,
    steps::{Between, Steps},
};

use crate::arithmetic::Arithmetic;

/// Functions that have a value for all arguments of their types, unless the text that they make is too long. In
/// alphabetical order.
const TOTAL: &[&str] = &[
    "array_length",
    "bit_length",
    "btrim",
    "cardinality",
    "character_length",
    "date_part",
    "ends_with",
    "get_field",
    "isnan",
    "iszero",
    "lower",
    "ltrim",
    "make_array",
    "map_at",
    "named_struct",
    "octet_length",
    "reverse",
    "rtrim",
    "starts_with",
    "strpos",
    "struct",
    "upper",
];

/// Whether an expression can fail for some rows of its input.
#[must_use]
pub fn can_fail(expression: &Arc<dyn PhysicalExpr>) -> bool {
    if let Some(steps) = expression.downcast_ref::<Steps>() {
        steps.can_fail()
    } else if let Some(logic) = expression.downcast_ref::<Logic>() {
        logic.can_fail()
    } else if let Some(case) = expression.downcast_ref::<Case>() {
        case.can_fail()
    } else if let Some(coalesce) = expression.downcast_ref::<Coalesce>() {
        coalesce.can_fail()
    } else if let Some(between) = expression.downcast_ref::<Between>() {
        between.can_fail()
    } else {
        !is_total(expression) || super::with_room(|| expression.children().into_iter().any(can_fail))
    }
}

/// Whether one of DataFusion's nodes has a value for all values of its children.
fn is_total(expression: &Arc<dyn PhysicalExpr>) -> bool {
    if let Some(call) = expression.downcast_ref::<ScalarFunctionExpr>() {
        // Arithmetic of floats has a value always: it overflows to infinity, also in a division by zero.
        let calculates = Arithmetic::of_name(call.fun().name()).is_some();
        return TOTAL.contains(&call.fun().name()) || (calculates && call.return_type().is_floating());
    }
    if let Some(negative) = expression.downcast_ref::<NegativeExpr>() {
        let schema = arrow::datatypes::Schema::empty();
        return negative.arg().data_type(&schema).is_ok_and(|of| !operation::negative_can_fail(&of));
    }
    expression.is::<Column>()
        || expression.is::<Literal>()
        || expression.is::<NotExpr>()
        || expression.is::<IsNullExpr>()
        || expression.is::<IsNotNullExpr>()
        || expression.is::<InListExpr>()
        || expression.is::<LikeExpr>()
}

#[cfg(test)]
mod tests {
    #[test]
    fn total_functions_are_in_order() {
        assert!(super::TOTAL.is_sorted());
    }
}
