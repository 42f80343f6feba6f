import AddressPolicy
import FleetModel
import FoundationEssentials
import NetworkClient

extension NetworkSubsystem {
    var probe: JobDefinition {
        JobDefinition(
            ProbeParameters.self, summary: "connect to a server, and learn how long it takes and who is there",
            timeout: .milliseconds(ProbeParameters.timeoutMillisecondsMax + 60_000)
        ) { [self] (parameters: ProbeParameters, context: JobContext) -> ProbeOutput in
            do {
                try await context.limits.spend(
                    1, of: "network.host.\(parameters.host.lowercased())", within: settings.limitWait)
                return try await gate.withPlace(within: settings.limitWait) {
                    try await context.limits.withPlace("network.connections", within: settings.limitWait) {
                        try await metrics.probing { try await probe(parameters) }
                    }
                }
            } catch let error as NetworkError {
                throw JobFailure(error)
            }
        }
    }

    /// Addresses of one host that are tried at most.
    static let addressesMax = 4

    private func probe(_ parameters: ProbeParameters) async throws -> ProbeOutput {
        let deadline =
            ContinuousClock.now
            + .milliseconds(parameters.timeoutMilliseconds ?? ProbeParameters.timeoutMillisecondsDefault)
        let begin = ContinuousClock.now
        var last: (endpoint: Endpoint?, error: NetworkError)
        var resolved: Duration = .zero
        do {
            let endpoints = try await addresses(parameters)
            resolved = ContinuousClock.now - begin
            last = (nil, NetworkError(.noAnswer, "there is no address of the name \(parameters.host)"))
            for endpoint in endpoints.prefix(Self.addressesMax) {
                do {
                    let report = try await prober.probe(
                        endpoint, serverName: parameters.usesTLS ? serverName(parameters) : nil, until: deadline)
                    return try judged(output(parameters, report, resolved), parameters)
                } catch let error as NetworkError where error.kind == .unreachable || error.kind == .timeout {
                    last = (endpoint, error)
                }
            }
        } catch let error as NetworkError where error.kind == .noAnswer {
            last = (nil, error)
        }
        metrics.probed(.unreachable)
        if let require = parameters.require, require != .nothing { throw JobFailure(last.error) }
        return ProbeOutput(
            host: parameters.host, port: parameters.port, reachable: false, address: last.endpoint?.description,
            error: last.error.message, resolveMilliseconds: resolved.fractionalMilliseconds, connectMilliseconds: nil,
            tls: nil)
    }

    private func serverName(_ parameters: ProbeParameters) -> String {
        let name = parameters.serverName ?? parameters.host
        // No certificate has the last dot of an absolute name.
        return name.hasSuffix(".") ? String(name.dropLast()) : name
    }

    /// The host's addresses that may be connected to: the very ones that are then used, so that a name which changes its mind
    /// between the check and the connection gains nothing.
    private func addresses(_ parameters: ProbeParameters) async throws -> [Endpoint] {
        guard let port = UInt16(exactly: parameters.port) else { return [] }
        let all = try await resolver.addresses(of: parameters.host, port: port)
        var allowed: [Endpoint] = []
        var refusal: (endpoint: Endpoint, kind: AddressKind)?
        for endpoint in all {
            guard let address = IPAddress(bytes: endpoint.bytes) else { continue }
            switch settings.addresses.judge(address, host: parameters.host) {
            case .allowed: allowed.append(endpoint)
            case .refused(let kind): refusal = refusal ?? (endpoint, kind)
            }
        }
        guard allowed.isEmpty, let refusal else { return allowed }
        metrics.probed(.refused)
        throw JobFailure(
            .permanent, code: "network.address-refused",
            message: "\(refusal.endpoint) is a \(refusal.kind.rawValue) address and may not be connected to; "
                + "list it in network.allow if it is meant")
    }

    private func judged(_ output: ProbeOutput, _ parameters: ProbeParameters) throws -> ProbeOutput {
        if parameters.require == .verified, output.tls?.verified != true {
            throw JobFailure(
                .transient, code: "network.not-verified",
                message: "the certificate does not prove the name: \(output.tls?.flaw ?? "there is none")")
        }
        return output
    }

    private func output(_ parameters: ProbeParameters, _ report: Prober.Report, _ resolved: Duration) -> ProbeOutput {
        var tls: ProbeOutput.TLS?
        var handshake: Duration?
        switch report.tls {
        case nil: break
        case .success(let shaken):
            handshake = shaken.duration
            tls = ProbeOutput.TLS(
                version: shaken.version, cipher: shaken.cipher,
                handshakeMilliseconds: shaken.duration.fractionalMilliseconds, verified: shaken.flaw == nil,
                flaw: shaken.flaw, certificate: shaken.certificate.map { ProbeOutput.Certificate($0) },
                chainLength: shaken.chainLength)
        case .failure(let error):
            tls = ProbeOutput.TLS(
                version: nil, cipher: nil, handshakeMilliseconds: nil, verified: false, flaw: error.message,
                certificate: nil, chainLength: 0)
        }
        metrics.probed(.connected, connect: report.connect, handshake: handshake)
        return ProbeOutput(
            host: parameters.host, port: parameters.port, reachable: true, address: report.endpoint.description,
            error: nil, resolveMilliseconds: resolved.fractionalMilliseconds,
            connectMilliseconds: report.connect.fractionalMilliseconds, tls: tls)
    }
}

extension ProbeOutput.Certificate {
    init(_ certificate: PeerCertificate) {
        func date(_ seconds: Int64?) -> String? {
            seconds.map { Date(timeIntervalSince1970: Double($0)).formatted(.iso8601) }
        }
        subject = certificate.subject
        issuer = certificate.issuer
        names = certificate.names
        nameCount = certificate.nameCount
        notBefore = date(certificate.notBefore)
        notAfter = date(certificate.notAfter)
        daysLeft = certificate.notAfter.map { Int((Double($0) - Date.now.timeIntervalSince1970) / 86_400) }
        fingerprint = certificate.fingerprint
    }
}

extension Duration {
    /// To the microsecond.
    var fractionalMilliseconds: Double { (self / .microseconds(1)).rounded() / 1_000 }
}
