import Core
import GRPCCore
import GRPCNIOTransportHTTP2
import TestKit
import Wire

typealias GRPCConnection = GRPCClient<HTTP2ClientTransport.Posix>

extension PlatformProcess {
  /// Runs `body` with a connection to the gRPC port.
  func withGRPC<Result: Sendable>(
    _ body: @Sendable (GRPCConnection) async throws -> Result
  ) async throws -> Result {
    let parts = grpc.split(separator: ":")
    let port = parts.last.flatMap { Int($0) } ?? 0
    return try await withGRPCClient(
      transport: .http2NIOPosix(
        target: .ipv4(address: String(parts.first ?? ""), port: port),
        transportSecurity: .plaintext)
    ) { try await body($0) }
  }
}

extension GRPCClient where Transport == HTTP2ClientTransport.Posix {
  var features: Martlet_V1_FeatureStore.Client<HTTP2ClientTransport.Posix> { .init(wrapping: self) }
  var serving: Martlet_V1_Serving.Client<HTTP2ClientTransport.Posix> { .init(wrapping: self) }
  var registry: Martlet_V1_Registry.Client<HTTP2ClientTransport.Posix> { .init(wrapping: self) }
  var orchestrator: Martlet_V1_Orchestrator.Client<HTTP2ClientTransport.Posix> {
    .init(wrapping: self)
  }

  /// Pushes JSON lines in one message.
  func push(_ source: String, _ lines: String) async throws -> Martlet_V1_PushResponse {
    try await features.push { writer in
      var message = Martlet_V1_PushRequest()
      message.source = source
      message.records = .init(lines.utf8)
      try await writer.write(message)
    }
  }

  func online(
    _ names: [String], _ key: String, _ value: Int64
  ) async throws -> [Martlet_V1_FeatureValue] {
    var request = Martlet_V1_GetOnlineRequest()
    request.features = names
    request.entities = [wireRow([key: value])]
    return try await features.getOnline(request).rows.first?.values ?? []
  }

  func upload(
    _ source: String, _ name: String, _ chunks: [[UInt8]]
  ) async throws -> Martlet_V1_UploadFileResponse {
    try await features.uploadFile { writer in
      var header = Martlet_V1_UploadFileRequest()
      header.header.source = source
      header.header.name = name
      try await writer.write(header)
      for chunk in chunks {
        var message = Martlet_V1_UploadFileRequest()
        message.chunk = .init(chunk)
        try await writer.write(message)
      }
    }
  }
}

func wireRow(_ values: [String: Int64]) -> Martlet_V1_Row {
  var row = Martlet_V1_Row()
  for (name, value) in values { row.values[name] = wireValue(value) }
  return row
}

func wireValue(_ value: Int64) -> Martlet_V1_Value {
  var wire = Martlet_V1_Value()
  wire.int64Value = value
  return wire
}

/// The error of a call that must fail.
func grpcError(_ call: () async throws -> Void) async throws -> RPCError? {
  do {
    try await call()
    return nil
  } catch let error as RPCError {
    return error
  }
}
