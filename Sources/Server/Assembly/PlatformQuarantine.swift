import Core
import Features
import Foundation

/// What transports ask of the quarantine.
extension PlatformServices {
  var quarantine: Quarantine { Quarantine(warehouse: warehouse, clock: clock) }

  func replay(_ request: ReplayRequest) async throws -> ReplayReport {
    try await QuarantineReplay(quarantine: quarantine, ingestor: ingestor).run(request)
  }

  /// A filter as text; an empty text is none.
  ///
  /// - Parameters:
  ///   - since: a time, or a length such as 24h before now.
  ///   - status: `all` for every one; empty means those that wait.
  func quarantineFilter(
    ids: [Int64]? = nil, source: String = "", reason: String = "", since: String = "",
    status: String = ""
  ) throws -> QuarantineFilter {
    var filter = QuarantineFilter(
      ids: ids, source: source.isEmpty ? nil : source, reason: reason.isEmpty ? nil : reason)
    if !since.isEmpty {
      if let span = Span(since) {
        filter.since = clock.now - span
      } else if let time = try? Timestamp(iso8601: since) {
        filter.since = time
      } else {
        throw PlatformError(
          .invalidArgument,
          "'since' is '\(since)'; write a time such as 2026-01-31T12:00:00Z, or a length such as 24h"
        )
      }
    }
    switch status {
    case "": filter.status = .waiting
    case "all": filter.status = nil
    default:
      guard let known = QuarantineEntry.Status(rawValue: status) else {
        let words = QuarantineEntry.Status.allCases.map(\.rawValue) + ["all"]
        throw PlatformError(
          .invalidArgument, "'status' is '\(status)'\(suggestion(for: status, among: words))")
      }
      filter.status = known
    }
    return filter
  }

  /// Refuses to act on everything where nothing was said.
  func requireChoice(_ filter: QuarantineFilter) throws {
    guard filter.ids == nil, filter.source == nil, filter.reason == nil, filter.since == nil else {
      return
    }
    throw PlatformError(
      .invalidArgument, "say which records: ids, or a source, a reason or a time since when")
  }

  /// Counts of the quarantine and of the checks, by what is a bounded set.
  func recordQuarantine() {
    let details = ingestor.details
    for source in ingestor.counters.keys {
      for kind in QuarantineKind.allCases {
        metrics.setCounter(
          "martlet_quarantined_total", [("source", source), ("kind", kind.rawValue)],
          to: details[source]?.kinds[kind] ?? 0)
      }
    }
    for (source, details) in details {
      metrics.setCounter(
        "martlet_quarantine_replayed_total", [("source", source)], to: details.replayed)
      metrics.setCounter(
        "martlet_ingest_erased_total", [("source", source)], to: details.erased)
      metrics.setCounter(
        "martlet_ingest_expired_total", [("source", source)], to: details.expired)
      for (check, count) in details.checkFailures {
        metrics.setCounter(
          "martlet_check_failures_total", [("source", source), ("check", check)], to: count)
      }
      for (check, count) in details.unchecked {
        metrics.setCounter(
          "martlet_check_unknown_total", [("source", source), ("check", check)], to: count)
      }
    }
  }
}

extension QuarantineEntry {
  var json: JSON {
    var members: [JSON.Member] = [
      .init("id", .int(id)), .init("source", .string(source)),
      .init("status", .string(status.rawValue)), .init("kind", .string(kind ?? "other")),
      .init("reason", .string(reason ?? "")), .init("position", .string(position ?? "")),
      .init("event_id", .string(eventID ?? "")),
      .init("quarantined_at", .string(quarantinedAt.description)),
      .init("attempts", .int(attempts)),
      .init("settled_at", settledAt.map { .string($0.description) } ?? .null),
      .init("record", .string(record ?? "")),
    ]
    if raw != nil {
      members.append(.init("raw_base64", .string(Data(bytes).base64EncodedString())))
    }
    return .object(members)
  }

  /// A line of an export: the record itself as an object where it is one, so that it is easily edited.
  var exportLine: JSON {
    guard case .object(var members) = json else { return json }
    if raw == nil, let object = try? JSON(parsing: bytes), case .object = object {
      members.removeAll { $0.key == "record" }
      members.append(.init("record", object))
    }
    return .object(members)
  }
}

extension ReplayReport {
  var json: JSON {
    .object([
      "replayed": .int(Int64(replayed)), "duplicates": .int(Int64(duplicates)),
      "failed": .int(Int64(failed)),
      "failures": .array(
        failures.map { .object(["id": .int($0.id), "reason": .string($0.reason)]) }),
    ])
  }
}
