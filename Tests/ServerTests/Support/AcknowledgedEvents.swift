import Core
import Foundation
import Synchronization
import TestKit

/// Producers that push numbered events and remember what the platform acknowledged.
final class AcknowledgedEvents: Sendable {
  private struct State {
    var acknowledged: Set<String> = []
    /// Sent, but never answered: they may be stored or not.
    var unsure: [String: String] = [:]
    var records: [String: String] = [:]
    var batches = 0
    var next = 0
    var refusals: [String] = []
  }

  static let customers = 20
  private let state = Mutex(State())

  var acknowledged: Set<String> { state.withLock { $0.acknowledged } }
  /// Batches that were acknowledged.
  var batches: Int { state.withLock { $0.batches } }
  /// Answers other than success; a platform that ends answers nothing.
  var refusals: [String] { state.withLock { $0.refusals } }

  /// Pushes batches until the platform is gone or `isDone` says so.
  func produce(to rest: RESTClient, until isDone: @Sendable () -> Bool = { false }) async {
    var generator = SystemRandomNumberGenerator()
    while !isDone() {
      let batch = newBatch(of: Int.random(in: 1...40, using: &generator))
      guard let answer = try? await rest.push("events", "[\(batch.values.joined(separator: ","))]")
      else { return }
      guard answer.status == 200 else {
        state.withLock { $0.refusals.append("\(answer)") }
        // What a stopping platform refuses is not stored, and there is nothing left to ask.
        if answer.status == 503 { return }
        continue
      }
      state.withLock { state in
        state.batches += 1
        state.acknowledged.formUnion(batch.keys)
        for id in batch.keys { state.unsure[id] = nil }
      }
    }
  }

  private func newBatch(of count: Int) -> [String: String] {
    state.withLock { state in
      var batch: [String: String] = [:]
      for _ in 0..<count {
        let number = state.next
        state.next += 1
        let id = "n\(number)"
        batch[id] = ShopProject.event(
          id, customer: number % Self.customers, amount: 1,
          at: "2026-02-28T\(twoDigits(number % 24)):\(twoDigits(number % 60)):00Z")
      }
      state.records.merge(batch) { $1 }
      state.unsure.merge(batch) { $1 }
      return batch
    }
  }

  /// The ids that the warehouse holds, with how often.
  func stored(_ rest: RESTClient) async throws -> [String: Int64] {
    var found: [String: Int64] = [:]
    let page = 10_000
    while true {
      let rows = try await rest.rows(
        """
        SELECT event_id, count(*) FROM events_events GROUP BY event_id ORDER BY event_id
        LIMIT \(page) OFFSET \(found.count)
        """)
      for row in rows { found[row[0].string ?? ""] = row[1].int ?? 0 }
      if rows.count < page { return found }
    }
  }

  /// What breaks the promise of an acknowledgement; empty where nothing does.
  func faults(_ rest: RESTClient) async throws -> [String] {
    let stored = try await stored(rest)
    let lost = acknowledged.filter { stored[$0] == nil }
    let twice = stored.filter { $0.value != 1 }
    var faults: [String] = []
    if !lost.isEmpty {
      faults.append(
        "\(lost.count) of \(acknowledged.count) acknowledged are lost, such as \(lost.sorted()[0])")
    }
    if let first = twice.first {
      faults.append("\(twice.count) are stored twice, such as \(first.key)")
    }
    for customer in 0..<Self.customers {
      let online = try await rest.online(["activity.events_7d"], #"{"customer_id": \#(customer)}"#)
      let count = try await rest.count(
        "SELECT count(*) FROM events_events WHERE customer_id = \(customer)")
      if online != [.int(count)] {
        faults.append(
          "customer \(customer) has \(online) events online and \(count) in the warehouse")
      }
    }
    return faults
  }

  /// Sends everything that was acknowledged again.
  func sendAgain(_ rest: RESTClient) async throws -> (accepted: Int64, duplicates: Int64) {
    let records = state.withLock { state in state.acknowledged.compactMap { state.records[$0] } }
    var accepted: Int64 = 0
    var duplicates: Int64 = 0
    for start in stride(from: 0, to: records.count, by: 1_000) {
      let batch = records[start..<min(start + 1_000, records.count)]
      let answer = try await rest.push("events", "[\(batch.joined(separator: ","))]")
      guard answer.status == 200 else { throw Refused(request: "push again", answer: answer) }
      accepted += answer["accepted"]?.int ?? 0
      duplicates += answer["duplicates"]?.int ?? 0
    }
    return (accepted, duplicates)
  }
}
