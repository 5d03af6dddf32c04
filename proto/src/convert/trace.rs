//! Contexts of traces: in messages, and in the metadata of requests as `traceparent` of the W3C's Trace Context.

use thalweg_types::TraceContext;
use tonic::metadata::{MetadataMap, MetadataValue};

use crate::v1;

/// The metadata key.
const TRACEPARENT: &str = "traceparent";

impl From<TraceContext> for v1::TraceContext {
    fn from(context: TraceContext) -> Self {
        Self { trace: context.trace().to_be_bytes().to_vec(), span: context.span(), sampled: context.is_sampled() }
    }
}

/// A context, where there is one that can be read: what it came with counts in any case.
pub(super) fn trace_from_wire(wire: Option<v1::TraceContext>) -> Option<TraceContext> {
    let v1::TraceContext { trace, span, sampled } = wire?;
    TraceContext::new(u128::from_be_bytes(trace.try_into().ok()?), span, sampled)
}

/// The context that a request came with.
#[must_use]
pub fn trace_of(metadata: &MetadataMap) -> Option<TraceContext> {
    TraceContext::parse(metadata.get(TRACEPARENT)?.to_str().ok()?)
}

/// Lets a request carry a context.
pub fn set_trace(metadata: &mut MetadataMap, context: Option<TraceContext>) {
    if let Some(context) = context {
        let value = MetadataValue::try_from(context.to_string()).expect("it has only digits, letters and dashes");
        metadata.insert(TRACEPARENT, value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_cannot_be_read_is_no_context() {
        let sound = v1::TraceContext::from(TraceContext::new(1, 2, true).unwrap());
        assert_eq!(trace_from_wire(None), None);
        let wrong = [
            v1::TraceContext::default(),
            v1::TraceContext { span: 0, ..sound.clone() },
            v1::TraceContext { trace: vec![0; 16], ..sound.clone() },
            v1::TraceContext { trace: vec![1; 15], ..sound.clone() },
            v1::TraceContext { trace: vec![1; 17], ..sound },
        ];
        for wire in wrong {
            assert_eq!(trace_from_wire(Some(wire.clone())), None, "{wire:?}");
        }
        let mut metadata = MetadataMap::new();
        assert_eq!(trace_of(&metadata), None);
        metadata.insert(TRACEPARENT, MetadataValue::from_static("00-zz"));
        assert_eq!(trace_of(&metadata), None);
    }

    proptest! {
        #[test]
        fn a_context_comes_back_from_a_message_and_from_metadata(trace in 1u128.., span in 1u64.., sampled: bool) {
            let context = TraceContext::new(trace, span, sampled);
            prop_assert_eq!(trace_from_wire(context.map(Into::into)), context);
            let mut metadata = MetadataMap::new();
            set_trace(&mut metadata, context);
            prop_assert_eq!(trace_of(&metadata), context);
        }
    }
}
