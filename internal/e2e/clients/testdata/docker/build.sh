export DOCKER_BUILDKIT=1
PATH=/usr/bin:$PATH # Debian's own, which asks the engine for BuildKit
cat >Dockerfile <<END
FROM busybox AS made
RUN --mount=type=secret,id=token --mount=type=cache,target=/cache cp /run/secrets/token /note && touch /cache/$WHO && ls /cache >>/note
FROM busybox
COPY --from=made /note /note
CMD ["cat", "/note"]
END
echo "$WHO" >token
docker build -q --secret id=token,src=token -t app:1 .
meet built
same "$WHO
$WHO" docker run --rm app:1
meet end
docker rmi app:1
