//! `UNION ALL`: a relation with the branches of all inputs.
//!
//! A filter or projection above goes into every branch. The operator that takes the union has one edge from each
//! branch.

use datafusion_expr::Union;

use super::{
    Lowerer,
    relation::{Branch, Relation, RelationColumn, Role, Stage},
};
use crate::errors::Result;

impl Lowerer<'_> {
    pub(super) fn union(&mut self, union: &Union) -> Result<Relation> {
        let mut inputs: Vec<Relation> = Vec::with_capacity(union.inputs.len());
        for input in &union.inputs {
            let mut relation = self.lower(input)?;
            if relation.branches.iter().any(|branch| !matches!(branch.base.stage, Stage::None)) {
                relation = self.settled(&relation)?;
            }
            inputs.push(relation);
        }
        let width = union.schema.fields().len();
        let mut columns = Vec::with_capacity(width);
        // A window of each input becomes one window of the union, because the query above sees only the columns.
        let mut tags: Vec<(Vec<super::WindowTag>, super::WindowTag)> = Vec::new();
        for (index, field) in union.schema.fields().iter().enumerate() {
            let role = self.common_role(&inputs, index, &mut tags);
            columns.push(RelationColumn { name: field.name().clone(), role });
        }
        let mut branches: Vec<Branch> = inputs.into_iter().flat_map(|input| input.branches).collect();
        for branch in &mut branches {
            branch.exprs.truncate(width);
        }
        Ok(Relation { branches, columns, width })
    }

    fn common_role(
        &mut self,
        inputs: &[Relation],
        index: usize,
        tags: &mut Vec<(Vec<super::WindowTag>, super::WindowTag)>,
    ) -> Role {
        let roles: Vec<Role> =
            inputs.iter().map(|input| input.columns.get(index).map_or(Role::default(), |column| column.role)).collect();
        let event_time = roles.iter().all(|role| role.event_time);
        let parts: Option<Vec<_>> = roles.iter().map(|role| role.window).collect();
        let window = parts.filter(|parts| parts.windows(2).all(|pair| pair[0].1 == pair[1].1)).and_then(|parts| {
            let part = parts.first()?.1;
            let of: Vec<super::WindowTag> = parts.iter().map(|(tag, _)| *tag).collect();
            if let Some((_, known)) = tags.iter().find(|(known, _)| *known == of) {
                return Some((*known, part));
            }
            let spec = self.spec_of(of[0]).filter(|spec| of.iter().all(|tag| self.spec_of(*tag) == Some(*spec)));
            let tag = self.tag(spec);
            tags.push((of, tag));
            Some((tag, part))
        });
        Role { event_time, window, rank: false }
    }
}
