//! The nodes of an encoded expression, in their serialized form.

use std::collections::BTreeMap;

use arrow_schema::{DataType, FieldRef};
use datafusion_expr::Operator;
use serde::{Deserialize, Serialize};

use crate::datum::Datum;

/// The metadata of an expression's field.
pub(crate) type Metadata = Option<BTreeMap<String, String>>;

/// An encoded expression.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Encoded {
    pub(crate) format: u32,
    /// In post-order.
    pub(crate) nodes: Vec<Node>,
}

/// The part that all formats share.
#[derive(Debug, Deserialize)]
pub(crate) struct Header {
    pub(crate) format: u32,
}

/// One node, without its children.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Node {
    Column(String),
    Literal {
        #[serde(rename = "type")]
        data_type: DataType,
        value: Option<Datum>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata: Metadata,
    },
    /// Left, right.
    Binary(#[serde(with = "OperatorName")] Operator),
    Unary(Unary),
    /// Text, pattern.
    Like(Pattern),
    /// Text, pattern.
    SimilarTo(Pattern),
    /// Value, low, high.
    Between {
        negated: bool,
    },
    /// Operand, then a condition and a result per branch, then the result otherwise.
    Case {
        operand: bool,
        branches: usize,
        otherwise: bool,
    },
    Cast(FieldRef),
    TryCast(FieldRef),
    Scalar {
        function: String,
        arguments: usize,
    },
    /// Arguments, filter, then the columns of the order.
    Aggregate(Aggregate),
    /// Value, items.
    InList {
        items: usize,
        negated: bool,
    },
    Alias {
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata: Metadata,
    },
}

impl Node {
    /// The number of its children.
    pub(crate) fn children(&self) -> usize {
        match self {
            Self::Column(_) | Self::Literal { .. } => 0,
            Self::Unary(_) | Self::Cast(_) | Self::TryCast(_) | Self::Alias { .. } => 1,
            Self::Binary(_) | Self::Like(_) | Self::SimilarTo(_) => 2,
            Self::Between { .. } => 3,
            Self::Case { operand, branches, otherwise } => {
                branches.saturating_mul(2).saturating_add(usize::from(*operand)).saturating_add(usize::from(*otherwise))
            }
            Self::Scalar { arguments, .. } => *arguments,
            Self::Aggregate(call) => {
                call.arguments.saturating_add(usize::from(call.filter)).saturating_add(call.order.len())
            }
            Self::InList { items, .. } => items.saturating_add(1),
        }
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unary {
    Not,
    Negative,
    IsNull,
    IsNotNull,
    IsTrue,
    IsNotTrue,
    IsFalse,
    IsNotFalse,
    IsUnknown,
    IsNotUnknown,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pattern {
    pub(crate) negated: bool,
    pub(crate) escape: Option<char>,
    pub(crate) case_insensitive: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Aggregate {
    pub(crate) function: String,
    pub(crate) arguments: usize,
    pub(crate) distinct: bool,
    pub(crate) filter: bool,
    pub(crate) order: Vec<SortOrder>,
    pub(crate) nulls: Option<Nulls>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SortOrder {
    pub(crate) ascending: bool,
    pub(crate) nulls_first: bool,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Nulls {
    Ignore,
    Respect,
}

/// The names of the operators. This does not compile unless it has all of them.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Operator", rename_all = "snake_case")]
enum OperatorName {
    Eq,
    NotEq,
    Lt,
    LtEq,
    Gt,
    GtEq,
    Plus,
    Minus,
    Multiply,
    Divide,
    Modulo,
    And,
    Or,
    IsDistinctFrom,
    IsNotDistinctFrom,
    RegexMatch,
    #[serde(rename = "regex_imatch")]
    RegexIMatch,
    RegexNotMatch,
    #[serde(rename = "regex_not_imatch")]
    RegexNotIMatch,
    LikeMatch,
    #[serde(rename = "ilike_match")]
    ILikeMatch,
    NotLikeMatch,
    #[serde(rename = "not_ilike_match")]
    NotILikeMatch,
    BitwiseAnd,
    BitwiseOr,
    BitwiseXor,
    BitwiseShiftRight,
    BitwiseShiftLeft,
    StringConcat,
    AtArrow,
    ArrowAt,
    Arrow,
    LongArrow,
    HashArrow,
    HashLongArrow,
    AtAt,
    IntegerDivide,
    HashMinus,
    AtQuestion,
    Question,
    QuestionAnd,
    QuestionPipe,
    Colon,
}
