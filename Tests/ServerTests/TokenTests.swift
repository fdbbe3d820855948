import Core
import GRPCCore
import GRPCNIOTransportHTTP2
import TestKit
import Testing
import Wire

extension WholeProgram {
  /// A platform that asks for a token.
  @Suite struct TokenTests {
    private static let token = "s3cret-Zanzibar-token"

    private static func with(_ body: (PlatformProcess) async throws -> Void) async throws {
      try await PlatformProcess.with(
        files: ["martlet.yaml": ShopProject.definitions, "train.py": ShopProject.code],
        environment: ["MARTLET_SERVER_TOKEN": token, "MARTLET_LOG_LEVEL": "trace"], body)
    }

    @Test(
      "without the token a call is refused with 401, with it answered; health and metrics are open")
    func rest() async throws {
      try await Self.with { platform in
        var rest = platform.rest
        for path in ["/api/v1/status", "/api/v1/features", "/api/v1/jobs"] {
          #expect(try await rest.get(path).status == 401, "\(path)")
        }
        let applied = try await rest.apply(ShopProject.definitions)
        #expect(applied.status == 401)
        #expect(applied.error.contains("Authorization"), "\(applied)")
        #expect(try await rest.get("/health/live").status == 200)
        #expect(try await rest.get("/metrics").status == 200)
        rest.token = Self.token + "x"
        #expect(try await rest.get("/api/v1/status").status == 401)
        rest.token = Self.token
        #expect(try await rest.get("/api/v1/status").status == 200)
        #expect(try await rest.apply(ShopProject.definitions).status == 200)
      }
    }

    @Test("gRPC asks for the token too")
    func grpc() async throws {
      try await Self.with { platform in
        let (without, with) = try await platform.withGRPC { client in
          let without = try await grpcError {
            _ = try await client.orchestrator.listJobs(Martlet_V1_ListJobsRequest())
          }
          let with = try await grpcError {
            _ = try await client.orchestrator.listJobs(
              Martlet_V1_ListJobsRequest(), metadata: ["authorization": "Bearer \(Self.token)"])
          }
          return (without, with)
        }
        #expect(without?.code == .unauthenticated)
        #expect(with == nil)
      }
    }

    @Test("the command line sends the token of its configuration")
    func commandLine() async throws {
      try await Self.with { platform in
        let with = try await platform.martlet("status", "--json")
        #expect(with.status == 0, "\(with)")
        let wrong = try await platform.martlet(
          "status", environment: ["MARTLET_SERVER_TOKEN": "another"])
        #expect(wrong.status == 1, "\(wrong)")
        #expect(
          wrong.errors.contains("Authorization") || wrong.errors.contains("token"), "\(wrong)")
      }
    }

    @Test("the token is never printed: not in the log, by config show, by doctor, nor in an answer")
    func neverPrinted() async throws {
      try await Self.with { platform in
        var rest = platform.rest
        rest.token = Self.token
        _ = try await rest.get("/api/v1/status?token=\(Self.token.count)")
        var texts = [
          try await rest.get("/api/v1/status").text, try await rest.get("/metrics").text,
        ]
        for arguments in [
          ["config", "show"], ["config", "show", "--json"], ["doctor"], ["status"],
        ] {
          let result = try await ChildProgram.run(
            PlatformProcess.executable, arguments, environment: platform.environment,
            directory: platform.folder.path)
          #expect(!(result.output + result.errors).isEmpty)
          texts.append(result.output + result.errors)
        }
        texts.append(platform.log)
        for text in texts { #expect(!text.contains(Self.token)) }
      }
    }
  }
}
