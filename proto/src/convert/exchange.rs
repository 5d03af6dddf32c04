//! Converts the exchange service's messages: frames between two nodes.
//!
//! This module checks what needs no knowledge of the attempt: empty frames, missing channels, impossible costs and
//! headers. The receiving endpoint checks that the channel exists, its sequence and its credit.

use bytes::Bytes;
use thalweg_types::{Attempt, ChannelId, CheckpointId, JobId, LatencyMarker, NodeId, Watermark, checkpoint::Barrier};

use super::{WireError, trace::trace_from_wire};
use crate::v1;

/// The most bytes of a batch's header: enough for thousands of columns.
const HEADER_BYTES_MAX: usize = 4 << 20;

/// The first frame of a stream: who sends to whom, for which attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The version of the sender's engine.
    pub version: String,
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// The sending node.
    pub from: NodeId,
    /// The node that is meant to receive.
    pub to: NodeId,
}

/// What a channel carries in one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// A batch, or a part of its body.
    Batch {
        /// Bytes charged; 0 except in the first part.
        cost: u64,
        /// Arrow IPC record batch message; empty except in the first part.
        header: Bytes,
        /// The body, or a part of it.
        body: Bytes,
        /// Whether the next frame of the channel carries more of the body.
        more: bool,
    },
    /// A watermark.
    Watermark(Watermark),
    /// The channel is idle: it no longer holds back the watermark.
    Idle,
    /// A barrier.
    Barrier(Barrier),
    /// Measures how long rows take.
    Marker(LatencyMarker),
    /// No frame follows.
    End,
}

/// One frame of one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelFrame {
    /// The channel.
    pub channel: ChannelId,
    /// Its number on the channel, from 0.
    pub sequence: u64,
    /// What it carries.
    pub payload: Payload,
}

/// From the sender of data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SenderFrame {
    /// The first frame.
    Hello(Hello),
    /// Every other frame.
    Channel(ChannelFrame),
}

/// From the receiver of data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiverFrame {
    /// The bytes granted to a channel since its beginning.
    Credit {
        channel: ChannelId,
        /// Bytes in total.
        granted: u64,
    },
    /// The sender broke a rule; the stream ends.
    Refused {
        /// The broken rule.
        reason: String,
    },
}

impl From<ChannelId> for v1::Channel {
    fn from(id: ChannelId) -> Self {
        Self { exchange: id.exchange, from: id.from, to: id.to }
    }
}

impl From<v1::Channel> for ChannelId {
    fn from(channel: v1::Channel) -> Self {
        Self { exchange: channel.exchange, from: channel.from, to: channel.to }
    }
}

impl From<Hello> for v1::Hello {
    fn from(hello: Hello) -> Self {
        Self {
            version: hello.version,
            job: hello.job.0,
            attempt: hello.attempt.0,
            from_node: hello.from.0,
            to_node: hello.to.0,
        }
    }
}

impl From<v1::Hello> for Hello {
    fn from(hello: v1::Hello) -> Self {
        Self {
            version: hello.version,
            job: JobId(hello.job),
            attempt: Attempt(hello.attempt),
            from: NodeId(hello.from_node),
            to: NodeId(hello.to_node),
        }
    }
}

impl From<SenderFrame> for v1::SenderFrame {
    fn from(frame: SenderFrame) -> Self {
        use v1::sender_frame::Frame;
        let frame = match frame {
            SenderFrame::Hello(hello) => Frame::Hello(hello.into()),
            SenderFrame::Channel(ChannelFrame { channel, sequence, payload }) => {
                let channel = Some(channel.into());
                match payload {
                    Payload::Batch { cost, header, body, more } => {
                        Frame::Batch(v1::BatchFrame { channel, sequence, cost, header, body, more })
                    }
                    Payload::Watermark(Watermark(watermark)) => {
                        Frame::Watermark(v1::WatermarkFrame { channel, sequence, watermark, idle: false })
                    }
                    Payload::Idle => {
                        Frame::Watermark(v1::WatermarkFrame { channel, sequence, watermark: 0, idle: true })
                    }
                    Payload::Barrier(Barrier { checkpoint, is_unaligned, trace }) => {
                        let (checkpoint, unaligned) = (checkpoint.0, is_unaligned);
                        let trace = trace.map(Into::into);
                        Frame::Barrier(v1::BarrierFrame { channel, sequence, checkpoint, unaligned, trace })
                    }
                    Payload::Marker(LatencyMarker(sent_micros)) => {
                        Frame::Marker(v1::MarkerFrame { channel, sequence, sent_micros })
                    }
                    Payload::End => Frame::End(v1::EndFrame { channel, sequence }),
                }
            }
        };
        Self { frame: Some(frame) }
    }
}

impl TryFrom<v1::SenderFrame> for SenderFrame {
    type Error = WireError;

    fn try_from(frame: v1::SenderFrame) -> Result<Self, WireError> {
        use v1::sender_frame::Frame;
        let (channel, sequence, payload) = match frame.frame.ok_or_else(|| malformed("it is empty"))? {
            Frame::Hello(hello) => return Ok(Self::Hello(hello.into())),
            Frame::Batch(frame) => (frame.channel, frame.sequence, batch_payload(frame)?),
            Frame::Watermark(frame) if frame.idle => (frame.channel, frame.sequence, Payload::Idle),
            Frame::Watermark(frame) => (frame.channel, frame.sequence, Payload::Watermark(Watermark(frame.watermark))),
            Frame::Barrier(v1::BarrierFrame { channel, sequence, checkpoint, unaligned, trace }) => {
                let (checkpoint, trace) = (CheckpointId(checkpoint), trace_from_wire(trace));
                let barrier = Barrier { checkpoint, is_unaligned: unaligned, trace };
                (channel, sequence, Payload::Barrier(barrier))
            }
            Frame::Marker(frame) => (frame.channel, frame.sequence, Payload::Marker(LatencyMarker(frame.sent_micros))),
            Frame::End(frame) => (frame.channel, frame.sequence, Payload::End),
        };
        let channel = channel.ok_or_else(|| malformed("it names no channel"))?.into();
        Ok(Self::Channel(ChannelFrame { channel, sequence, payload }))
    }
}

fn batch_payload(frame: v1::BatchFrame) -> Result<Payload, WireError> {
    if frame.header.len() > HEADER_BYTES_MAX {
        return Err(malformed("the batch's header is too long"));
    }
    if frame.header.is_empty() && frame.cost != 0 {
        return Err(malformed("a cost is charged without a batch's header"));
    }
    Ok(Payload::Batch { cost: frame.cost, header: frame.header, body: frame.body, more: frame.more })
}

fn malformed(reason: &str) -> WireError {
    WireError::new("SenderFrame", reason)
}

impl From<ReceiverFrame> for v1::ReceiverFrame {
    fn from(frame: ReceiverFrame) -> Self {
        use v1::receiver_frame::Frame;
        let frame = match frame {
            ReceiverFrame::Credit { channel, granted } => {
                Frame::Credit(v1::CreditFrame { channel: Some(channel.into()), granted })
            }
            ReceiverFrame::Refused { reason } => Frame::Refused(v1::RefusedFrame { reason }),
        };
        Self { frame: Some(frame) }
    }
}

impl TryFrom<v1::ReceiverFrame> for ReceiverFrame {
    type Error = WireError;

    fn try_from(frame: v1::ReceiverFrame) -> Result<Self, WireError> {
        use v1::receiver_frame::Frame;
        match frame.frame {
            Some(Frame::Credit(v1::CreditFrame { channel: Some(channel), granted })) => {
                Ok(Self::Credit { channel: channel.into(), granted })
            }
            Some(Frame::Refused(refused)) => Ok(Self::Refused { reason: refused.reason }),
            Some(Frame::Credit(_)) => Err(WireError::new("ReceiverFrame", "it names no channel")),
            None => Err(WireError::new("ReceiverFrame", "it is empty")),
        }
    }
}

#[cfg(test)]
mod tests;
