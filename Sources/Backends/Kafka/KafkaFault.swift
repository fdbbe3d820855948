import CRdKafka
import Core

/// librdkafka's codes as the platform's errors.
enum KafkaFault {
  static func name(_ code: rd_kafka_resp_err_t) -> String {
    rd_kafka_err2name(code).map { String(cString: $0) } ?? "\(code.rawValue)"
  }

  /// The text of a C buffer.
  static func text(of buffer: [CChar]) -> String {
    String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  static func text(_ code: rd_kafka_resp_err_t) -> String {
    rd_kafka_err2str(code).map { String(cString: $0) } ?? name(code)
  }

  static func advice(_ code: rd_kafka_resp_err_t) -> String {
    switch code {
    case RD_KAFKA_RESP_ERR__AUTHENTICATION, RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
      "; check the sasl.* properties"
    case RD_KAFKA_RESP_ERR__SSL: "; check security.protocol and the ssl.* properties"
    case RD_KAFKA_RESP_ERR__RESOLVE: "; check the brokers' names"
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN: "; reading and writing go on when a broker is back"
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
      RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
      "; give the platform's user the rights to read the topic and the group"
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
      "; create the topic"
    default: ""
    }
  }

  static func fatal(_ code: rd_kafka_resp_err_t, _ reason: String) -> PlatformError {
    if code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID {
      return PlatformError(
        .failedPrecondition,
        "Another process joined the Kafka group under this one's instance id; give each process an id of its own.",
        context: ["reason": reason])
    }
    return PlatformError(
      .unavailable, "The Kafka client stopped (\(name(code))): \(reason)\(advice(code))")
  }

  static func error(_ code: rd_kafka_resp_err_t, doing what: String) -> PlatformError {
    let isRetryable: Bool
    switch code {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, RD_KAFKA_RESP_ERR_INVALID_MSG,
      RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
      return PlatformError(
        .invalidArgument, "\(what) failed: \(text(code)) (\(name(code)))\(advice(code))")
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
      RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
      RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
      RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
      return PlatformError(
        .failedPrecondition, "\(what) failed: \(text(code)) (\(name(code)))\(advice(code))")
    default: isRetryable = true
    }
    return PlatformError(
      .unavailable, "\(what) failed: \(text(code)) (\(name(code)))\(advice(code))",
      retryable: isRetryable)
  }
}
