//! Which nodes of an expression are links of one chain: they are one level of it.

use datafusion_expr::{Expr, Operator};

use crate::{CodecError, DEPTH_MAX, LINKS_MAX, node::Node};

/// The chain that a node may be a link of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chain {
    Connective(Operator),
    /// Operators and casts.
    Steps,
    None,
}

/// How deep an expression is, chains being one level and each of their links being one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Depth {
    levels: usize,
    links: usize,
}

impl Chain {
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
            _ => Self::None,
        }
    }

    fn of_operator(operator: Operator) -> Self {
        match operator {
            Operator::And | Operator::Or => Self::Connective(operator),
            _ => Self::Steps,
        }
    }

    /// Whether its child at a place goes on with it.
    fn goes_on(self, place: usize, child: Self) -> bool {
        match self {
            Self::Connective(_) => self == child,
            Self::Steps => self == child && place == 0,
            Self::None => false,
        }
    }
}

impl Depth {
    /// One node.
    pub(crate) const ONE: Self = Self { levels: 1, links: 1 };

    /// One level more, for the child of a chain at a place.
    pub(crate) fn below(self, chain: Chain, place: usize, child: Chain) -> Self {
        Self { levels: self.levels + usize::from(!chain.goes_on(place, child)), links: self.links + 1 }
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
