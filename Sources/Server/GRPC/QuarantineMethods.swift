import Core
import Features
import Foundation
import GRPCCore
import Wire

extension FeatureStoreService {
  func listQuarantine(
    request: Martlet_V1_QuarantineFilter, context: ServerContext
  ) async throws -> Martlet_V1_ListQuarantineResponse {
    let limit = request.limit == 0 ? 50 : min(Int(request.limit), 10_000)
    let entries = try await services.quarantine.list(filter(request), limit: limit)
    var response = Martlet_V1_ListQuarantineResponse()
    response.records = entries.map(\.wire)
    return response
  }

  func replayQuarantine(
    request: Martlet_V1_ReplayQuarantineRequest, context: ServerContext
  ) async throws -> Martlet_V1_ReplayQuarantineResponse {
    var filter = try filter(request.filter)
    if filter.ids == nil, !request.records.isEmpty { filter.ids = request.records.keys.sorted() }
    try services.requireChoice(filter)
    let report = try await services.replay(
      ReplayRequest(
        filter: filter, records: request.records.mapValues { Array($0) },
        fields: try request.set.sorted { $0.key < $1.key }.map {
          .init($0.key, JSON(try Value($0.value)))
        })
    )
    var response = Martlet_V1_ReplayQuarantineResponse()
    response.replayed = UInt64(report.replayed)
    response.duplicates = UInt64(report.duplicates)
    response.failed = UInt64(report.failed)
    for failure in report.failures { response.failures[failure.id] = failure.reason }
    return response
  }

  func discardQuarantine(
    request: Martlet_V1_QuarantineFilter, context: ServerContext
  ) async throws -> Martlet_V1_DiscardQuarantineResponse {
    let filter = try filter(request)
    try services.requireChoice(filter)
    var response = Martlet_V1_DiscardQuarantineResponse()
    response.discarded = UInt64(try await services.quarantine.discard(filter))
    return response
  }

  func erase(
    request: Martlet_V1_EraseRequest, context: ServerContext
  ) async throws -> Martlet_V1_EraseResponse {
    let receipt = try await services.erasure.run(
      entity: request.entity, key: .array(try request.key.map { JSON(try Value($0)) }))
    var response = Martlet_V1_EraseResponse()
    response.id = receipt.id
    response.digest = receipt.digest
    response.erasedAt = receipt.erasedAt.wire
    response.removed = receipt.removed.mapValues { UInt64($0) }
    response.rebuiltKeys = UInt64(receipt.rebuiltKeys)
    return response
  }

  private func filter(_ wire: Martlet_V1_QuarantineFilter) throws -> QuarantineFilter {
    try services.quarantineFilter(
      ids: wire.ids.isEmpty ? nil : wire.ids, source: wire.source, reason: wire.reason,
      since: wire.since, status: wire.status)
  }
}

extension QuarantineEntry {
  fileprivate var wire: Martlet_V1_QuarantinedRecord {
    var wire = Martlet_V1_QuarantinedRecord()
    wire.id = id
    wire.source = source
    wire.record = Data(bytes)
    wire.reason = reason ?? ""
    wire.kind = kind ?? ""
    wire.position = position ?? ""
    wire.eventID = eventID ?? ""
    wire.status = status.rawValue
    wire.quarantinedAt = quarantinedAt.wire
    wire.attempts = UInt64(max(0, attempts))
    return wire
  }
}
