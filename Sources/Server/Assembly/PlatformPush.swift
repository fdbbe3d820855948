import Core
import Features
import Foundation

/// When a push that is produced to a topic is answered.
enum PushWait: String, Sendable, CaseIterable {
  /// When both stores have its records, so that the next read sees them.
  case applied
  /// When the brokers have them.
  case produced
}

/// A push as a transport takes it.
struct PushCall: Sendable {
  var source: String
  var records: [UInt8]
  /// One record a line; else a body of JSON.
  var isLines = true
  var client: String?
  var sequence: UInt64?
  var overload = Overload.refuse
  /// As the caller wrote it; nil and empty wait for `applied`.
  var wait: String?

  fileprivate func pushWait() throws -> PushWait? {
    guard let wait, !wait.isEmpty else { return nil }
    guard let known = PushWait(rawValue: wait) else {
      throw PlatformError(
        .invalidArgument, "'wait' is applied or produced, not '\(wait)'")
    }
    return known
  }
}

extension PlatformServices {
  /// Validates and stores records; returns once they are durable and readable online.
  ///
  /// Of a source whose pushes are produced: once they are in the topic, and applied unless `wait` says otherwise. Records that
  /// will not pass are told of all the same.
  func push(_ call: PushCall, within limit: Span? = nil) async throws -> PushReceipt {
    let patience = patience(limit)
    let (receipt, offsets) = try await take(call, within: patience)
    try await applied(offsets, within: patience)
    return receipt
  }

  /// How long a caller waits for brokers and for records to be applied, from now on.
  func patience(_ limit: Span?) -> Patience { Patience(limit ?? configuration.kafka.waitTimeout) }

  /// As `push`, but without waiting for records to be applied that went to a topic: their ends are returned.
  func take(
    _ call: PushCall, within patience: Patience
  ) async throws -> (PushReceipt, awaited: [StreamOffset]) {
    let (origin, first) = try Self.origin(call.client, call.sequence)
    let source = try source(call.source)
    let wait = try call.pushWait()
    var parser = RecordParser(source: source, origin: origin)
    if call.isLines {
      try parser.append(lines: call.records, first: first)
    } else {
      try call.records.withUnsafeBufferPointer { try parser.append(body: $0, first: first) }
    }
    let rows = parser.finishRows()
    if let kafka = source.kafka, kafka.push == .produce {
      let offsets = try await produce(
        call, rows, to: kafka.topic, first: first, within: patience)
      var receipt = PushReceipt(
        accepted: rows.count, duplicates: 0, quarantined: rows.quarantined.count,
        unknownFields: rows.unknownFields, reasons: rows.quarantined.prefix(100).map(\.reason),
        warnings: rows.warnings)
      receipt.produced = offsets.count
      return (receipt, wait == .produced ? [] : offsets)
    }
    guard wait != .produced else {
      throw PlatformError(
        .invalidArgument,
        "pushes to source '\(source.name)' are stored directly, so there is nothing to produce; leave 'wait' away, or "
          + "write `kafka: {topic: …, push: produce}` into its definition")
    }
    let receipt = try await ingestor.ingest(rows, overload: call.overload)
    return (
      PushReceipt(
        accepted: receipt.accepted, duplicates: receipt.duplicates,
        quarantined: receipt.quarantined, unknownFields: receipt.unknownFields,
        reasons: Array((rows.quarantined.prefix(100).map(\.reason) + receipt.refusals).prefix(100)),
        warnings: receipt.warnings, erased: receipt.erased, expired: receipt.expired), []
    )
  }

  private func produce(
    _ call: PushCall, _ rows: ValidatedRows, to topic: String, first: Int64,
    within patience: Patience
  ) async throws -> [StreamOffset] {
    guard let pushProducer else {
      throw PlatformError(
        .failedPrecondition,
        "pushes to source '\(call.source)' are produced to the topic '\(topic)', but this platform has no brokers; set "
          + "kafka.brokers")
    }
    try ingestor.refuseStopped(rows)
    return try await pushProducer.produce(
      call.records, isLines: call.isLines, of: rows.source, topic: topic,
      in: online.visible.current.project, client: call.sequence == nil ? nil : call.client,
      first: first, overload: call.overload, within: patience)
  }

  /// Waits until records that went to a topic are readable.
  func applied(_ offsets: [StreamOffset], within patience: Patience) async throws {
    guard !offsets.isEmpty, let pushProducer else { return }
    try await pushProducer.applied(offsets, within: patience)
  }

  /// Who sent records, and the number of their first.
  private static func origin(
    _ client: String?, _ sequence: UInt64?
  ) throws -> (RecordOrigin, first: Int64) {
    guard let client, let sequence else {
      guard client == nil, sequence == nil else {
        throw PlatformError(
          .invalidArgument,
          "'client' and 'sequence' belong together: a repeated push is known by both. Send the \(client == nil ? "name of the client" : "number of the first record") as well, or neither"
        )
      }
      return (.once(token: UUID().uuidString.lowercased()), 1)
    }
    guard client.utf8.count <= Limits.clientIDCharacters else {
      throw PlatformError(
        .invalidArgument,
        "the client's name is longer than \(Limits.clientIDCharacters) characters; give it a shorter one"
      )
    }
    guard sequence <= UInt64(Int64.max - Int64(Limits.pushRows)) else {
      throw PlatformError(
        .invalidArgument, "the sequence \(sequence) is too large to count on from; begin with 1")
    }
    return (.push(client: client), Int64(sequence))
  }
}
