//! Spines of expressions: runs of nodes, each an operand of the next. All links of a spine count as one level of depth.

use datafusion_expr::{Expr, Operator};

use crate::{CodecError, DEPTH_MAX, LINKS_MAX, node::Node};

/// The kind of spine that a node can be a link of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spine {
    Connective(Operator),
    /// Operators other than `AND` and `OR`, and casts, each in the first operand of the next.
    Steps,
    None,
}

/// The depth of an expression: in levels, where a spine counts as one, and in nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Depth {
    levels: usize,
    links: usize,
}

impl Spine {
    pub(crate) fn of(expr: &Expr) -> Self {
        match expr {
            Expr::BinaryExpr(binary) => Self::of_operator(binary.op),
            Expr::Cast(_) | Expr::TryCast(_) => Self::Steps,
            _ => Self::None,
        }
    }

    pub(crate) fn of_node(node: &Node) -> Self {
        match node {
            Node::Binary(operator) => Self::of_operator(*operator),
            Node::Cast(_) | Node::TryCast(_) => Self::Steps,
            Node::Column(_)
            | Node::Literal { .. }
            | Node::Unary(_)
            | Node::Like(_)
            | Node::SimilarTo(_)
            | Node::Between { .. }
            | Node::Case { .. }
            | Node::Scalar { .. }
            | Node::Aggregate(_)
            | Node::InList { .. }
            | Node::Alias { .. } => Self::None,
        }
    }

    fn of_operator(operator: Operator) -> Self {
        match operator {
            Operator::And | Operator::Or => Self::Connective(operator),
            _ => Self::Steps,
        }
    }

    /// Whether the child at a place is the next link of the spine.
    fn goes_on(self, place: usize, child: Self) -> bool {
        match self {
            Self::Connective(_) => self == child,
            Self::Steps => self == child && place == 0,
            Self::None => false,
        }
    }
}

impl Depth {
    /// The depth of a single node.
    pub(crate) const ONE: Self = Self { levels: 1, links: 1 };

    /// The depth across one step between a node of `spine` and its child at a place: one node more, and one level more
    /// unless the child goes on with the spine.
    pub(crate) fn below(self, spine: Spine, place: usize, child: Spine) -> Self {
        Self { levels: self.levels + usize::from(!spine.goes_on(place, child)), links: self.links + 1 }
    }

    pub(crate) fn max(self, other: Self) -> Self {
        Self { levels: self.levels.max(other.levels), links: self.links.max(other.links) }
    }

    pub(crate) fn check(self) -> Result<Self, CodecError> {
        if self.levels > DEPTH_MAX {
            Err(CodecError::TooDeep)
        } else if self.links > LINKS_MAX {
            Err(CodecError::TooLong)
        } else {
            Ok(self)
        }
    }
}
