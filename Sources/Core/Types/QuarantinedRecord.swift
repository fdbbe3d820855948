/// Why records are in quarantine: a bounded set, for counting.
package enum QuarantineKind: String, Sendable, Equatable, Codable, CaseIterable {
  case malformed, type, zone, required, range, set, regex, unique, transform, other
  case noEventTime = "no_event_time"
  case eventID = "event_id"
}

/// A record that failed validation, kept whole with the reason.
package struct QuarantinedRecord: Sendable, Equatable {
  package var source: String
  /// The record as it came, as JSON or the line's text; bytes that are not UTF-8 are replaced here.
  package var record: String
  /// The record's bytes, where `record` is not the same; nil where it is.
  package var raw: [UInt8]?
  package var reason: String
  package var kind: QuarantineKind
  /// Where it came from: `file NAME row 17`, `push CLIENT sequence 4`.
  package var position: String
  /// The id that its event has, unless the record itself gives one.
  package var eventID: String
  /// The record of the quarantine that was tried again; this is then its new reason, not one more record.
  package var replayOf: Int64?

  package init(
    source: String, record: String, raw: [UInt8]? = nil, reason: String,
    kind: QuarantineKind = .other, position: String, eventID: String = "", replayOf: Int64? = nil
  ) {
    self.source = source
    self.record = record
    self.raw = raw
    self.reason = reason
    self.kind = kind
    self.position = position
    self.eventID = eventID
    self.replayOf = replayOf
  }
}
