import Core
import Foundation
import Logging

/// Removes one entity key from everything that the platform keeps, for good.
///
/// First one warehouse transaction removes the events and writes a tombstone with what is left to do; then the online state,
/// the other places and the snapshot file follow, and the note of what is left is emptied. After a crash at any instant either nothing
/// was erased, or `resume` does the rest. No commit is in flight between the transaction and the online state.
package struct EntityErasure: Sendable {
  let ingestor: Ingestor
  let online: OnlineState
  private let targets: [any ErasureTarget]
  let log: Logger

  /// - Parameter targets: the places beside event tables, quarantine and online state.
  package init(
    ingestor: Ingestor, online: OnlineState, targets: [any ErasureTarget],
    log: Logger = Logger(label: "martlet.erasure")
  ) {
    self.ingestor = ingestor
    self.online = online
    self.targets = targets
    self.log = log
  }

  /// - Parameter withoutAbsent: goes on although processes that fill the same views are away; they do their part when they are started.
  /// - Throws: `failed_precondition` where such a process is away; nothing is erased then.
  package func run(
    entity: String, key: JSON, withoutAbsent: Bool = false
  ) async throws -> ErasureReceipt {
    let subject = try ErasureSubject(
      entity: entity, key: key, project: ingestor.definitions.current.project)
    if let board {
      let others = try await others(of: subject, board)
      if !others.isEmpty {
        return try await run(subject, with: others, board, withoutAbsent: withoutAbsent)
      }
    }
    let pending = try await ingestor.pause { [self] in
      let pending = try await remove(
        transaction(subject, id: UUID().uuidString.lowercased(), at: ingestor.clock.now))
      return try await forget(pending)
    }
    return try await finish(pending)
  }

  /// Ends what a crash, or a store that was away, left unfinished; what other processes have a part in is seen to by `takePart`.
  package func resume() async throws {
    for pending in try await Self.pending(ingestor.warehouse) where pending.asked.isEmpty {
      let forgotten =
        pending.isLedElsewhere
        ? pending : try await ingestor.pause { [self] in try await forget(pending) }
      let receipt = try await finish(forgotten)
      log.notice("an erasure was finished", metadata: ["id": "\(receipt.id)"])
    }
  }

  /// The receipts, newest first.
  package func receipts(limit: Int) async throws -> [ErasureReceipt] {
    let texts = try await ingestor.warehouse.query(
      "SELECT receipt FROM erasures ORDER BY erased_at DESC LIMIT \(max(0, limit))", as: String.self
    )
    return texts.compactMap { text in
      (try? JSON(parsing: Array(text.utf8))).flatMap(ErasureReceipt.init(json:))
    }
  }

  /// To be called before the online state is restored: a snapshot file that may hold an erased key is not used.
  package static func prepareRestore(
    _ warehouse: any Warehouse, snapshotPath: String
  ) async throws {
    guard try await !pending(warehouse).isEmpty else { return }
    try? FileManager.default.removeItem(atPath: snapshotPath)
    try? FileManager.default.removeItem(atPath: snapshotPath + ".tmp")
  }

  // MARK: Steps

  /// Where processes that fill the same views agree; nil where nobody else can.
  var board: ErasureBoard? { online.sharedStore.map { ErasureBoard(store: $0) } }

  func transaction(
    _ subject: ErasureSubject, id: String, at time: Timestamp
  ) async throws -> ErasureTransaction {
    ErasureTransaction(
      subject: subject, layouts: Array(ingestor.definitions.current.layouts.values), id: id,
      now: time, salt: try await Self.salt(ingestor.warehouse))
  }

  /// To be called while no commit is in flight.
  func remove(_ transaction: ErasureTransaction) async throws -> PendingErasure {
    let pending = try await ingestor.warehouse.transaction { try transaction.run(on: $0) }
    try await ingestor.readTombstones()
    return pending
  }

  /// The online state without the key, and other keys as their remaining events make them.
  private func forget(_ pending: PendingErasure) async throws -> PendingErasure {
    var pending = pending
    let counts = try await online.forget(pending.online, of: pending.subject)
    for (view, count) in counts.removed { pending.receipt.removed["online.\(view)"] = count }
    pending.receipt.rebuiltKeys = counts.rebuilt
    return pending
  }

  private func finish(_ pending: PendingErasure) async throws -> ErasureReceipt {
    var pending = pending
    try await eraseElsewhere(&pending)
    return try await close(pending)
  }

  /// Removes the key from every other place of this process.
  func eraseElsewhere(_ pending: inout PendingErasure) async throws {
    for target in targets {
      pending.receipt.removed[target.name, default: 0] += try await target.erase(pending.subject)
    }
  }

  func close(_ pending: PendingErasure) async throws -> ErasureReceipt {
    var receipt = pending.receipt
    try await online.saveAnew()
    receipt.isDone = true
    let done = receipt
    _ = try await ingestor.warehouse.transaction { appender in
      try appender.execute(
        "UPDATE erasures SET state = 'done', pending = NULL, receipt = ? WHERE id = ?",
        [.string(done.json.text), .string(done.id)])
    }
    if let warehouse = ingestor.warehouse as? any ReclaimingWarehouse {
      // The log still has the rows; folding it in is what makes room, and nothing depends on it.
      do { try await warehouse.reclaim() } catch {
        log.warning("the warehouse could not be folded after an erasure: \(error)")
      }
    }
    return receipt
  }

  /// Notes how far it is, for a later start.
  func note(_ pending: PendingErasure) async throws {
    _ = try await ingestor.warehouse.transaction { appender in
      try appender.execute(
        "UPDATE erasures SET pending = ?, receipt = ? WHERE id = ?",
        [
          .string(pending.json.text), .string(pending.receipt.json.text),
          .string(pending.receipt.id),
        ])
    }
  }

  static func salt(_ warehouse: any Warehouse) async throws -> String {
    try await warehouse.query("SELECT salt FROM erasure_salt LIMIT 1", as: String.self).first
      ?? KeyDigest.newSalt()
  }

  static func pending(_ warehouse: any Warehouse) async throws -> [PendingErasure] {
    struct Row: Decodable, Sendable {
      var pending: String
      var receipt: String
    }
    let rows = try await warehouse.query(
      "SELECT pending, receipt FROM erasures WHERE state = 'running' AND pending IS NOT NULL "
        + "ORDER BY erased_at", as: Row.self)
    return try rows.compactMap { row in
      guard let receipt = ErasureReceipt(json: try JSON(parsing: Array(row.receipt.utf8))) else {
        return nil
      }
      return PendingErasure(
        receipt: receipt, json: try JSON(parsing: Array(row.pending.utf8)))
    }
  }
}
