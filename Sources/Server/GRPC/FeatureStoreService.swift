import Core
import Features
import Foundation
import GRPCCore
import Wire

/// `martlet.v1.FeatureStore` over the platform's services.
struct FeatureStoreService: Martlet_V1_FeatureStore.SimpleServiceProtocol {
  let services: PlatformServices

  private static let chunkBytes = 1 << 20

  func push(
    request: RPCAsyncSequence<Martlet_V1_PushRequest, any Error>, context: ServerContext
  ) async throws -> Martlet_V1_PushResponse {
    var response = Martlet_V1_PushResponse()
    // What went to a topic is waited for once, at the end of the stream.
    var awaited: [StreamPartition: Int64] = [:]
    var limit: Span?
    for try await message in request {
      if message.timeoutMs > 0 {
        limit = .milliseconds(Int64(min(message.timeoutMs, UInt64(Int32.max))))
      }
      let (receipt, offsets) = try await services.take(
        PushCall(
          source: message.source, records: [UInt8](message.records),
          client: message.clientID.isEmpty ? nil : message.clientID,
          sequence: message.sequence == 0 ? nil : message.sequence, overload: .wait,
          wait: message.wait), within: services.patience(limit))
      for offset in offsets {
        awaited[offset.partition] = max(offset.next, awaited[offset.partition] ?? 0)
      }
      response.produced += UInt64(receipt.produced)
      response.accepted += UInt64(receipt.accepted)
      response.duplicates += UInt64(receipt.duplicates)
      response.quarantined += UInt64(receipt.quarantined)
      response.erased += UInt64(receipt.erased)
      response.expired += UInt64(receipt.expired)
      for (warning, count) in receipt.warnings {
        response.warnings[warning, default: 0] += UInt64(count)
      }
      response.reasons += receipt.reasons.prefix(100 - min(100, response.reasons.count))
    }
    try await services.applied(
      awaited.map { StreamOffset(partition: $0.key, next: $0.value) },
      within: services.patience(limit))
    return response
  }

  func uploadFile(
    request: RPCAsyncSequence<Martlet_V1_UploadFileRequest, any Error>, context: ServerContext
  ) async throws -> Martlet_V1_UploadFileResponse {
    try await services.spool.withFile { path in
      var header: Martlet_V1_FileHeader?
      var file = try SpoolWriter(path: path)
      for try await message in request {
        switch message.part {
        case .header(let found) where header == nil: header = found
        case .chunk(let bytes) where header != nil: try file.write(bytes)
        default:
          throw PlatformError(
            .invalidArgument,
            "the first message of an upload names the file, the others carry its bytes")
        }
      }
      try file.close()
      guard let header else {
        throw PlatformError(
          .invalidArgument, "the upload is empty: its first message must name the file")
      }
      let report = try await services.ingestFile(
        at: path, name: header.name, source: header.source,
        format: header.format.isEmpty ? nil : header.format, strict: header.strict)
      return Martlet_V1_UploadFileResponse(report)
    }
  }

  /// As the generated types have it; `OnlineReadService` answers on the wire.
  func getOnline(
    request: Martlet_V1_GetOnlineRequest, context: ServerContext
  ) async throws -> Martlet_V1_GetOnlineResponse {
    let reads = OnlineReadService(services: services)
    return try Martlet_V1_GetOnlineResponse(
      serializedBytes: try await reads.answer(try request.serializedBytes()))
  }

  func listFeatureSets(
    request: Martlet_V1_ListFeatureSetsRequest, context: ServerContext
  ) async throws -> Martlet_V1_ListFeatureSetsResponse {
    var response = Martlet_V1_ListFeatureSetsResponse()
    response.sets = services.featureSets.map { model in
      var set = Martlet_V1_FeatureSet()
      set.name = model.name
      set.features = model.features.map(\.name)
      set.entities = model.entities
      set.inputs = model.inputs.map(\.name)
      return set
    }
    return response
  }

  func getFreshness(
    request: Martlet_V1_GetFreshnessRequest, context: ServerContext
  ) async throws -> Martlet_V1_GetFreshnessResponse {
    let now = services.clock.now
    var response = Martlet_V1_GetFreshnessResponse()
    response.time = now.wire
    response.views = try services.freshness(of: request.views).map { view in
      var wire = Martlet_V1_ViewFreshness()
      wire.view = view.view
      wire.source = view.source
      if let newest = view.newest { wire.newestEvent = newest.wire }
      wire.ageSeconds = view.age(at: now)?.inSeconds ?? 0
      if let ahead = view.furthestAhead { wire.newestFutureEvent = ahead.wire }
      return wire
    }
    return response
  }

  func getHistory(
    request: Martlet_V1_GetHistoryRequest, response: RPCWriter<Martlet_V1_GetHistoryResponse>,
    context: ServerContext
  ) async throws {
    let call = try HistoryCall(
      features: request.features, time: request.timeColumn, mode: request.mode,
      spineFormat: request.spineFormat.isEmpty ? request.format : request.spineFormat,
      format: request.format,
      definitions: request.definitionsVersion == 0 ? nil : request.definitionsVersion)
    try await services.spool.withFile { spine in
      try request.spine.write(to: URL(fileURLWithPath: spine))
      try await services.spool.withFile { output in
        _ = try await services.history(call, spine: spine, output: output)
        try await send(fileAt: output, to: response)
      }
    }
  }

  /// A file in pieces.
  func send(
    fileAt path: String, to response: RPCWriter<Martlet_V1_GetHistoryResponse>
  ) async throws {
    guard let file = FileHandle(forReadingAtPath: path) else { return }
    while let bytes = try file.read(upToCount: Self.chunkBytes), !bytes.isEmpty {
      var piece = Martlet_V1_GetHistoryResponse()
      piece.chunk = bytes
      try await response.write(piece)
    }
  }
}

extension FeatureStoreService {
  func lineage(
    request: Martlet_V1_LineageRequest, context: ServerContext
  ) async throws -> Martlet_V1_LineageResponse {
    let direction = try LineageDirection.named(
      request.direction.isEmpty ? "both" : request.direction)
    let selection = try await services.lineage(of: request.name, direction)
    var response = Martlet_V1_LineageResponse()
    response.root = selection.root
    response.direction = selection.direction.rawValue
    response.nodes = selection.graph.nodes.map { node in
      var wire = Martlet_V1_LineageNode()
      wire.id = node.id
      wire.kind = node.kind.rawValue
      wire.name = node.name
      for attribute in node.attributes { wire.attributes[attribute.key] = attribute.value }
      return wire
    }
    response.edges = selection.graph.edges.map { edge in
      var wire = Martlet_V1_LineageEdge()
      wire.from = edge.from
      wire.to = edge.to
      wire.role = edge.role
      return wire
    }
    return response
  }
}

extension Martlet_V1_UploadFileResponse {
  init(_ report: FileReport) {
    self.init()
    rows = UInt64(report.rows)
    accepted = UInt64(report.accepted)
    duplicates = UInt64(report.duplicates)
    quarantined = UInt64(report.quarantined)
    alreadyIngested = report.alreadyIngested
    reasons = report.reasons.map { "\($0.count) × \($0.reason)" }
  }
}
