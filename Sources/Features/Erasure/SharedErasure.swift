import Core
import Foundation
import Logging
import Synchronization

/// An erasure where other processes fill the same views from warehouses of their own: this process leads it.
///
/// Everybody removes the key's events from its warehouse. Then, while nobody takes events, all bring what they have of the keys concerned
/// into new states beside the old ones, which take the place of those when all have: no read finds a part of them. Whoever dies on
/// the way is waited for, after its next start; what is asked of it stands in the store until then.
extension EntityErasure {
  private static let readiness = Duration.seconds(10)
  private static let removal = Duration.seconds(60)
  private static let round = Duration.seconds(60)
  private static let rounds = 3
  /// Keys that are made anew while no events are taken.
  private static let keysAtOnce = 2_000

  /// Processes that may have events of a key: those that fill views of its sources, and whoever else is there.
  func others(of subject: ErasureSubject, _ board: ErasureBoard) async throws -> [SharedProcess] {
    let known = try await board.store.processes()
    var warehouses = Set(known.filter(\.isThere).map(\.warehouse))
    for layout in try concerned(subject) {
      warehouses.formUnion(try await board.store.otherWarehouses(of: layout.view))
    }
    return warehouses.subtracting([board.here]).sorted().map { warehouse in
      known.first { $0.warehouse == warehouse }
        ?? SharedProcess(warehouse: warehouse, name: "a process", isThere: false)
    }
  }

  /// The views of the sources that have the key's columns.
  func concerned(_ subject: ErasureSubject) throws -> [ViewLayout] {
    let project = ingestor.definitions.current.project
    return try online.storedViews.filter { layout in
      let source = project.source(layout.source)
      return subject.columns.allSatisfy { source?.column($0) != nil }
    }
  }

  func names(_ views: [ViewLayout]) -> String { views.map(\.view).sorted().joined(separator: " ") }

  func run(
    _ subject: ErasureSubject, with others: [SharedProcess], _ board: ErasureBoard,
    withoutAbsent: Bool
  ) async throws -> ErasureReceipt {
    try await alone(board) {
      let request = ErasureRequest(
        id: UUID().uuidString.lowercased(), subject: subject, erasedAt: ingestor.clock.now,
        leader: board.here, asked: others.map(\.warehouse))
      let pending: PendingErasure
      do {
        let absent = try await ask(request, of: others, board)
        if !absent.isEmpty, !withoutAbsent { throw Self.refusal(absent) }
        pending = try await ingestor.pause {
          var transaction = try await transaction(subject, id: request.id, at: request.erasedAt)
          transaction.asked = others
          return try await remove(transaction)
        }
      } catch {
        // Nothing was removed anywhere: before this process nobody begins.
        try? await board.withdraw(request.id)
        throw error
      }
      return try await lead(pending, board)
    }
  }

  private static func refusal(_ absent: [SharedProcess]) -> PlatformError {
    let names = absent.map { "\($0.name) (warehouse \($0.warehouse))" }.joined(separator: ", ")
    return PlatformError(
      .failedPrecondition,
      "nothing was erased: \(names) fills the same views from a warehouse of its own and is away. Start it and erase again; or say "
        + "--without-absent (\"without_absent\": true), and it erases its events when it is started again, until when features of other keys "
        + "keep what those events have added to them",
      context: ["processes": names])
  }

  /// Posts a request; returns those who do not say that they are there.
  private func ask(
    _ request: ErasureRequest, of others: [SharedProcess], _ board: ErasureBoard
  ) async throws -> [SharedProcess] {
    try await board.post(request, .asking)
    let end = ContinuousClock.now + Self.readiness
    while true {
      let state = try await board.state(of: request.id)
      let views = names(try concerned(request.subject))
      for process in others where (state.ready(process.warehouse) ?? views) != views {
        throw PlatformError(
          .failedPrecondition,
          "nothing was erased: \(process.name) has other definitions in force; apply the same ones in every process that fills these views, and erase again"
        )
      }
      let silent = others.filter { state.ready($0.warehouse) == nil }
      if silent.isEmpty { return [] }
      let there = try await board.store.processes().filter(\.isThere).map(\.warehouse)
      if ContinuousClock.now > end || silent.allSatisfy({ !there.contains($0.warehouse) }) {
        return silent
      }
      try await Task.sleep(for: .milliseconds(50))
    }
  }

  /// Everything after this process's own removal; may be done again after a crash anywhere in it.
  func lead(_ pending: PendingErasure, _ board: ErasureBoard) async throws -> ErasureReceipt {
    var pending = pending
    let id = pending.receipt.id
    try await board.post(request(pending, board), .removing)
    for _ in 0..<Self.rounds {
      let answers = try await answers(id, of: pending.asked, board)
      let isWhole = answers.count == pending.asked.count
      var keys = try ofSubject(pending)
      if isWhole {
        keys.merge(keys: pending.online)
        for answer in answers.values { keys.merge(keys: answer.keys) }
      }
      guard let had = try await renew(keys, of: id, with: answers.keys.sorted(), board) else {
        log.notice(
          "an erasure tries again: a process went away meanwhile", metadata: ["id": "\(id)"])
        continue
      }
      try await note(&pending, keys, had, answers)
      if isWhole {
        try await eraseElsewhere(&pending)
        let receipt = try await close(pending)
        try await board.withdraw(id)
        return receipt
      }
      pending.waits = true
      try await eraseElsewhere(&pending)
      try await note(pending)
      try await board.say(.waiting, of: id)
      log.warning(
        "an erasure waits for a process that is away",
        metadata: ["note": "\(pending.receipt.note ?? "")"])
      return pending.receipt
    }
    throw PlatformError(
      .unavailable,
      "erasure \(id) was begun, and other processes went away meanwhile; it goes on by itself (GET /api/v1/erasures)",
      retryAfter: .seconds(5))
  }

  func request(_ pending: PendingErasure, _ board: ErasureBoard) -> ErasureRequest {
    ErasureRequest(
      id: pending.receipt.id, subject: pending.subject, erasedAt: pending.receipt.erasedAt,
      leader: board.here, asked: pending.asked.map(\.warehouse))
  }

  private func ofSubject(_ pending: PendingErasure) throws -> [String: [EntityKey]] {
    let views = try online.storedViews.filter { $0.keyColumns == pending.subject.columns }
    return Dictionary(uniqueKeysWithValues: views.map { ($0.view, [pending.subject.key]) })
  }

  private func note(
    _ pending: inout PendingErasure, _ keys: [String: [EntityKey]], _ had: [String: Int],
    _ answers: [String: ErasureAnswer]
  ) async throws {
    pending.receipt.others = pending.asked.map {
      .init(warehouse: $0.warehouse, name: $0.name, removed: answers[$0.warehouse]?.removed)
    }
    for (view, count) in had {
      let place = "online.\(view.prefix { $0 != "@" })"
      pending.receipt.removed[place] = max(count, pending.receipt.removed[place] ?? 0)
    }
    let own = try ofSubject(pending)
    pending.receipt.rebuiltKeys = keys.reduce(0) { $0 + (own[$1.key] == nil ? $1.value.count : 0) }
  }

  /// What processes removed, by warehouse; of those that are away, or do not answer, nothing.
  private func answers(
    _ id: String, of asked: [SharedProcess], _ board: ErasureBoard
  ) async throws -> [String: ErasureAnswer] {
    let end = ContinuousClock.now + Self.removal
    while true {
      let there = try await board.store.processes().filter(\.isThere).map(\.warehouse)
      let present = asked.map(\.warehouse).filter { there.contains($0) }
      let state = try await board.state(of: id)
      var answers: [String: ErasureAnswer] = [:]
      for warehouse in present { answers[warehouse] = state.answer(of: warehouse) }
      if answers.count == present.count || ContinuousClock.now > end { return answers }
      try await Task.sleep(for: .milliseconds(50))
    }
  }

  // MARK: States made anew

  /// Makes keys anew with everybody's events, some thousand at a time; returns how many there were before of each view, nil where somebody
  /// went away.
  private func renew(
    _ keys: [String: [EntityKey]], of id: String, with others: [String], _ board: ErasureBoard
  ) async throws -> [String: Int]? {
    var had: [String: Int] = [:]
    let isStopped = StopSign()
    return try await withTaskCancellationHandler {
      for round in try rounds(keys) {
        let counts = try await ingestor.pause { [self] in
          try await online.still {
            try await renew(round, of: id, with: others, board, isStopped)
          }
        }
        guard let counts else { return nil }
        had.merge(counts, uniquingKeysWith: +)
      }
      return had
    } onCancel: {
      isStopped.set()
    }
  }

  private func rounds(_ keys: [String: [EntityKey]]) throws -> [ErasureRound] {
    var rounds: [ErasureRound] = []
    var round = ErasureRound(renewals: [])
    var room = Self.keysAtOnce
    var id = Self.roundID()
    for layout in try online.storedViews {
      var left = (keys[layout.view] ?? [])[...]
      while !left.isEmpty {
        let some = left.prefix(room)
        left = left.dropFirst(some.count)
        room -= some.count
        round.renewals.append(
          StateRenewal(id: id, view: layout.view, keyTypes: layout.keyTypes, keys: Array(some)))
        guard room == 0 else { continue }
        rounds.append(round)
        (round, room, id) = (ErasureRound(renewals: []), Self.keysAtOnce, Self.roundID())
      }
    }
    return round.renewals.isEmpty ? rounds : rounds + [round]
  }

  private static func roundID() -> String { String(UInt64.random(in: .min ... .max), radix: 36) }

  /// One round, while this process takes no events; nil where it was given up.
  private func renew(
    _ round: ErasureRound, of id: String, with others: [String], _ board: ErasureBoard,
    _ isStopped: StopSign
  ) async throws -> [String: Int]? {
    online.noteErasure()
    var had: [String: Int] = [:]
    do {
      for renewal in round.renewals {
        let states = try await online.store.read(view: renewal.view, keys: renewal.keys)
        had[renewal.view] = states.count { $0 != nil }
        try await board.store.begin(renewal)
      }
      try await board.say(.renewing(round.id), of: id, round: round)
      for renewal in round.renewals { try await online.contribute(to: renewal, in: board.store) }
      var isWhole = try await haveJoined(round, of: id, others, board, isStopped)
      if isWhole {
        for renewal in round.renewals {
          isWhole = try await board.store.finish(renewal) && isWhole
        }
      }
      if !isWhole { await giveUp(round, board, isStopped) }
      try await board.say(.removing, of: id)
      return isWhole ? had : nil
    } catch {
      await giveUp(round, board, isStopped)
      try? await board.say(.removing, of: id)
      throw error
    }
  }

  private func haveJoined(
    _ round: ErasureRound, of id: String, _ others: [String], _ board: ErasureBoard,
    _ isStopped: StopSign
  ) async throws -> Bool {
    let end = ContinuousClock.now + Self.round
    while !isStopped.isSet, ContinuousClock.now < end {
      let state = try await board.state(of: id)
      if others.allSatisfy({ state.joined($0) == round.id }) { return true }
      let there = try await board.store.processes().filter(\.isThere).map(\.warehouse)
      guard others.allSatisfy(there.contains) else { return false }
      try await Task.sleep(for: .milliseconds(20))
    }
    return false
  }

  /// Gives a round up for good: only then may events be taken again, which are in the old states alone.
  func giveUp(_ round: ErasureRound, _ board: ErasureBoard, _ isStopped: StopSign) async {
    while true {
      do { return try await board.giveUp(round) } catch {
        log.warning("a part of an erasure could not be given up yet: \(error)")
        if isStopped.isSet { return }
        try? await Task.sleep(for: .seconds(1))
      }
    }
  }

  // MARK: One at a time

  /// Runs `work` while no other process leads an erasure.
  func alone<Result: Sendable>(
    _ board: ErasureBoard, patience: Duration = .seconds(30),
    _ work: @escaping @Sendable () async throws -> Result
  ) async throws -> Result {
    let holder = Self.roundID()
    let end = ContinuousClock.now + patience
    while try await !board.store.hold("erasing", as: holder, for: .seconds(15)) {
      guard ContinuousClock.now < end else {
        throw PlatformError(
          .conflict, "another erasure is under way in the processes that share the online store",
          retryable: true, retryAfter: .seconds(5))
      }
      try await Task.sleep(for: .milliseconds(100))
    }
    let outcome: Swift.Result<Result, any Error> = await withTaskGroup(of: Void.self) { group in
      group.addTask {
        while !Task.isCancelled {
          try? await Task.sleep(for: .seconds(4))
          _ = try? await board.store.hold("erasing", as: holder, for: .seconds(15))
        }
      }
      defer { group.cancelAll() }
      do { return .success(try await work()) } catch { return .failure(error) }
    }
    try? await board.store.letGo("erasing", as: holder)
    return try outcome.get()
  }
}

/// Tells work that runs in another task's place that its own task was cancelled.
final class StopSign: Sendable {
  private let isUp = Atomic<Bool>(false)

  var isSet: Bool { isUp.load(ordering: .acquiring) }

  func set() { isUp.store(true, ordering: .releasing) }
}
