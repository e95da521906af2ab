export DOCKER_BUILDKIT=0
mkdir -p app
cat >app/Dockerfile <<END
ARG BASE=busybox
FROM \$BASE AS made
COPY note /note
RUN echo "step of $WHO" >>/note
FROM busybox
COPY --from=made /note /note
CMD ["cat", "/note"]
END
echo "$WHO" >app/note
docker build -t app:1 app
meet built
same "$WHO
step of $WHO" docker run --rm app:1
printf 'FROM app:1\nLABEL course=ml\n' | docker build -t app:2 -
same ml docker inspect -f '{{.Config.Labels.course}}' app:2
docker build -t app:1 app | grep -q 'Using cache'
meet end
docker rmi app:2 app:1
docker image prune -f >/dev/null
