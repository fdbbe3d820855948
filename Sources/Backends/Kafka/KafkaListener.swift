import CRdKafka
import Core
import Logging
import Synchronization

/// What librdkafka's callbacks reach: the log, and the reactions of the thread that polls.
///
/// `log` is called on any thread of librdkafka's; the closures inside polls only, and set before the first.
final class KafkaListener: @unchecked Sendable {
  let logger: Logger
  /// The client can go on no more.
  var onFailure: ((PlatformError) -> Void)?
  var onRebalance: ((rd_kafka_resp_err_t, KafkaPartitions) -> Void)?
  var onCommit: ((rd_kafka_resp_err_t, KafkaPartitions?) -> Void)?
  var onDelivery: ((UnsafePointer<rd_kafka_message_t>) -> Void)?
  private struct News {
    /// What has been said since something last succeeded, so that a cluster that is away is not said every second.
    var said: Set<Int32> = []
    var last: String?
  }

  private let news = Mutex(News())

  /// The last failure since something succeeded.
  var trouble: String? { news.withLock { $0.last } }

  init(logger: Logger) { self.logger = logger }

  /// Lets go of what the closures hold.
  func silence() {
    onFailure = nil
    onRebalance = nil
    onCommit = nil
    onDelivery = nil
  }

  static func of(_ opaque: UnsafeMutableRawPointer?) -> KafkaListener? {
    opaque.map { Unmanaged<KafkaListener>.fromOpaque($0).takeUnretainedValue() }
  }

  /// Lets callbacks find this object, which must outlive the client.
  func listen(_ settings: borrowing KafkaSettings) {
    settings.with { settings in
      rd_kafka_conf_set_opaque(settings, opaque)
      rd_kafka_conf_set_log_cb(settings) { client, level, facility, text in
        guard let client, let text else { return }
        KafkaListener.of(rd_kafka_opaque(client))?.log(
          level, facility.map { String(cString: $0) } ?? "", String(cString: text))
      }
      rd_kafka_conf_set_error_cb(settings) { client, code, reason, opaque in
        guard let client else { return }
        KafkaListener.of(opaque)?.error(
          client, rd_kafka_resp_err_t(rawValue: code),
          reason.map { String(cString: $0) } ?? "")
      }
    }
  }

  func listenToRebalances(_ settings: borrowing KafkaSettings) {
    settings.with { settings in
      rd_kafka_conf_set_rebalance_cb(settings) { _, code, list, opaque in
        guard let list else { return }
        KafkaListener.of(opaque)?.onRebalance?(code, KafkaPartitions(borrowing: list))
      }
    }
  }

  func listenToDeliveries(_ settings: borrowing KafkaSettings) {
    settings.with { settings in
      rd_kafka_conf_set_dr_msg_cb(settings) { _, message, opaque in
        guard let message else { return }
        KafkaListener.of(opaque)?.onDelivery?(message)
      }
    }
  }

  var opaque: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

  private func log(_ level: Int32, _ facility: String, _ text: String) {
    // syslog's levels; what librdkafka calls an error is mostly a connection that comes back, which the error
    // callback tells as well.
    let ours: Logger.Level =
      switch level {
      case _ where facility == "FAIL" || facility == "ERROR": .debug
      case ...2: .error
      case 3...4: .warning
      case 5: .info
      default: .debug
      }
    logger.log(level: ours, "\(text)", metadata: ["facility": "\(facility)"])
  }

  private func error(_ client: OpaquePointer, _ code: rd_kafka_resp_err_t, _ reason: String) {
    if code == RD_KAFKA_RESP_ERR__FATAL {
      var text = [CChar](repeating: 0, count: 512)
      let cause = rd_kafka_fatal_error(client, &text, text.count)
      onFailure?(KafkaFault.fatal(cause, KafkaFault.text(of: text)))
      return
    }
    let isNew = news.withLock { news in
      news.last = "\(reason) (\(KafkaFault.name(code)))"
      return news.said.insert(code.rawValue).inserted
    }
    logger.log(
      level: isNew ? .warning : .debug,
      "Kafka: \(reason)\(KafkaFault.advice(code))", metadata: ["code": "\(KafkaFault.name(code))"])
  }

  /// Something succeeded: the next failure is news.
  func recovered() {
    news.withLock { news in if !news.said.isEmpty || news.last != nil { news = News() } }
  }
}
