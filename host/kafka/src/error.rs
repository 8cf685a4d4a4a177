//! Kafka's errors in the port's words: each says what can be done about it.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use reelflow_ports::log::LogError;

use crate::native::{Health, NativeError};

/// What `code` means for the caller. `doing` is what was attempted: `cannot …`.
pub(crate) fn log_error(code: RDKafkaErrorCode, doing: &str, reason: &str) -> LogError {
    use RDKafkaErrorCode::*;
    let text = || format!("{doing}: {reason}");
    match code {
        Fenced
        | ProducerFenced
        | InvalidProducerEpoch
        | InvalidProducerIdMapping
        | UnknownProducerId
        | FencedInstanceId
        | IllegalGeneration
        | UnknownMemberId
        | RebalanceInProgress
        | FencedMemberEpoch
        | StaleMemberEpoch
        | AssignmentLost => LogError::Fenced(text()),
        // The brokers know it by name, so it is there, but not for us.
        TopicAuthorizationFailed
        | GroupAuthorizationFailed
        | ClusterAuthorizationFailed
        | TransactionalIdAuthorizationFailed
        | DelegationTokenAuthorizationFailed
        | Authentication
        | SaslAuthenticationFailed
        | UnsupportedSASLMechanism
        | IllegalSASLState
        | SecurityDisabled
        | SSL => LogError::Denied(text()),
        InvalidArgument
        | InvalidConfig
        | InvalidGroupId
        | InvalidSessionTimeout
        | InvalidTransactionTimeout
        | InvalidPartitions
        | InvalidReplicationFactor
        | InvalidTopic
        | InconsistentGroupProtocol
        | GroupMaxSizeReached
        | OffsetMetadataTooLarge
        | PolicyViolation
        | UnsupportedFeature
        | UnsupportedVersion
        | UnsupportedCompressionType => LogError::Refused(text()),
        BadMessage | BadCompression | InvalidMessage => LogError::Damaged(text()),
        _ => LogError::Unavailable(text()),
    }
}

/// Like [`log_error`], for what librdkafka says of a call of its own.
pub(crate) fn native_error(error: &NativeError, doing: &str) -> LogError {
    match log_error(error.code, doing, &error.text) {
        // A fatal error is the client's end. Those without a name of their own are gaps in its sequence: a new life mends them.
        LogError::Refused(text) | LogError::Denied(text) if error.is_fatal => LogError::Unavailable(text),
        other => other,
    }
}

/// Like [`log_error`], for errors of rdkafka. A setting's value is never part of the text, since it may be secret.
pub(crate) fn kafka_error(error: &KafkaError, doing: &str) -> LogError {
    match error {
        KafkaError::ClientConfig(_, _, name, _) => {
            LogError::Refused(format!("{doing}: the Kafka client does not know setting \"{name}\" or does not take its value"))
        }
        KafkaError::ClientCreation(reason) => LogError::Refused(format!("{doing}: {reason}")),
        KafkaError::AdminOp(code) => log_error(*code, doing, &code.to_string()),
        other => match other.rdkafka_error_code() {
            Some(code) => log_error(code, doing, &code.to_string()),
            None => LogError::Unavailable(format!("{doing}: {other}")),
        },
    }
}

/// `error`, said better: a time-out because of bad credentials is the user's to mend, and one because nobody listens should
/// tell where. Both are only known from what the client reported on its own.
pub(crate) fn with_cause(error: LogError, health: &Health) -> LogError {
    let LogError::Unavailable(text) = error else { return error };
    match health.last_error() {
        Some((code, reason)) => match log_error(code, &text, &reason) {
            refused @ (LogError::Refused(_) | LogError::Denied(_)) => refused,
            _ => LogError::Unavailable(format!("{text} ({reason})")),
        },
        None => LogError::Unavailable(text),
    }
}

/// Whether `code` says that a topic or a partition does not exist.
pub(crate) fn is_missing(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::*;
    matches!(code, UnknownTopicOrPartition | UnknownTopic | UnknownPartition | UnknownTopicId)
}

/// Whether `code` says that something which exists is about to be where it was looked for: a leader, a coordinator, or a
/// partition that was created a moment ago.
pub(crate) fn is_moving(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::*;
    matches!(
        code,
        WaitingForCoordinator
            | CoordinatorLoadInProgress
            | CoordinatorNotAvailable
            | NotCoordinator
            | LeaderNotAvailable
            | NotLeaderForPartition
            | ReplicaNotAvailable
            | OffsetNotAvailable
            | KafkaStorageError
            | FencedLeaderEpoch
            | UnknownLeaderEpoch
            | UnknownTopicOrPartition
            | UnstableOffsetCommit
    )
}

/// Whether the client recovers from `code` by itself, so that a reader need not care.
pub(crate) fn is_transient(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::*;
    let is_known = matches!(
        code,
        BrokerTransportFailure
            | AllBrokersDown
            | Resolve
            | OperationTimedOut
            | RequestTimedOut
            | NetworkException
            | PollExceeded
            | UnknownMemberId
            | IllegalGeneration
            | RebalanceInProgress
            | FetchSessionIdNotFound
            | InvalidFetchSessionEpoch
            | DestroyBroker
    );
    is_known || (is_moving(code) && !is_missing(code))
}
